# Debian's libgearman-client-perl: perl perl.pl worker|client PORT [FUNCTION]
use strict;
use warnings;

$| = 1;
my ($role, $port, $first) = @ARGV;
my @servers = ("127.0.0.1:$port");
if ($role eq 'worker') {
    require Gearman::Worker;
    my $worker = Gearman::Worker->new(job_servers => \@servers);
    $worker->register_function(echo => sub { $_[0]->arg });
    $worker->work while 1;
}
require Gearman::Client;
my $client = Gearman::Client->new(job_servers => \@servers);
for ([1, $first, 'first'], [2, 'echo', 'second']) {
    my ($number, $function, $workload) = @$_;
    my $result = eval { $client->do_task($function, $workload) };
    print "$number ", defined $result ? "result $$result" : 'error ' . ($@ || 'failed') =~ s/\n.*//sr, "\n";
}
