# Delivers mails: perl mail_worker.pl HOST:PORT FUNCTION SPOOL FAILURES
# A job is a mail in JSON. The first FAILURES times a mail comes, the relay is "down" and the job fails;
# then the mail is appended to the file SPOOL.
use strict;
use warnings;

use Gearman::Worker;
use JSON::PP;

my ($server, $function, $spool, $failures) = @ARGV;
my %attempts;
my $worker = Gearman::Worker->new(job_servers => $server);

$worker->register_function(
    $function => sub {
        my ($job) = @_;
        my $mail = decode_json($job->arg);
        for my $field (qw/to subject body/) {
            die "a mail without $field\n" unless defined $mail->{$field};
        }
        if ($attempts{ $mail->{to} }++ < $failures) {
            return undef;
        }
        $mail->{attempts} = $attempts{ $mail->{to} };
        open my $file, '>>', $spool or die "no spool: $!";
        print $file JSON::PP->new->canonical->utf8->encode($mail), "\n";
        close $file or die "not delivered: $!";
        return "delivered to $mail->{to}";
    }
);
$worker->work;
