# Sends mails by SMTP: perl smtp_worker.pl HOST:PORT FUNCTION SMTP-PORT
# A job is a mail in JSON. There is no word of trying again here: what goes wrong ends the job.
use strict;
use warnings;

use Gearman::Worker;
use JSON::PP;
use Net::SMTP;

my ($server, $function, $port) = @ARGV;
my $worker = Gearman::Worker->new(job_servers => $server, client_id => 'mailer');

$worker->register_function(
    $function => sub {
        my ($job) = @_;
        my $mail = decode_json($job->arg);
        my $smtp = Net::SMTP->new('127.0.0.1', Port => $port, Timeout => 5) or die "no relay: $@\n";
        my $sent
            = $smtp->mail('robot@example.org')
            && $smtp->to($mail->{to})
            && $smtp->data("To: $mail->{to}\nSubject: $mail->{subject}\n\n$mail->{body}\n");
        my $answer = $smtp->code . ' ' . $smtp->message;
        $smtp->quit;
        die "not sent: $answer\n" unless $sent;
        return "sent to $mail->{to}";
    }
);
$worker->work;
