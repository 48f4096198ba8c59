# Sends mails: perl mail_client.pl HOST:PORT FUNCTION RETRIES TO...
# Each mail is a job in JSON, tried again up to RETRIES times; prints what became of each as JSON.
use strict;
use warnings;
use utf8;

use Gearman::Client;
use JSON::PP;

my ($server, $function, $retries, @receivers) = @ARGV;
my $client = Gearman::Client->new(job_servers => $server);
my $set    = $client->new_task_set;
my %became = map { $_ => { retries => [] } } @receivers;

for my $to (@receivers) {
    my $mail = encode_json({ to => $to, subject => 'Grüße', body => "Hello $to,\nthis is a test.\n" });
    $set->add_task(
        $function, $mail,
        {
            retry_count => $retries,
            on_retry    => sub { push @{ $became{$to}{retries} }, $_[0] },
            on_complete => sub { $became{$to}{result} = ${ $_[0] } },
            on_fail     => sub { $became{$to}{failed} = JSON::PP::true },
        }
    );
}
$set->wait(timeout => 10);
print JSON::PP->new->canonical->encode(\%became), "\n";
