# A worker: perl worker.pl HOST:PORT[,HOST:PORT...] PREFIX [TIMEOUT]
# It serves PREFIX_reverse and so on until it is ended. TIMEOUT is CAN_DO_TIMEOUT's, for PREFIX_wait.
use strict;
use warnings;

use Gearman::Worker;

my ($servers, $prefix, $timeout) = @ARGV;
my $worker = Gearman::Worker->new(job_servers => [split /,/, $servers], client_id => "perl-worker-$$");

my %functions = (
    reverse => sub { return scalar reverse $_[0]->arg },
    status  => sub {
        my ($job) = @_;
        $job->set_status($_, 3) for 1 .. 3;
        return 'with status';
    },
    data => sub {
        my ($job) = @_;
        $worker->send_work_data($job, "piece $_") for 1 .. 2;
        $worker->send_work_warning($job, 'careful');
        return 'with data';
    },
    fail => sub { return undef },
    die  => sub { die 'broken: ', $_[0]->arg, "\n" },
    raise => sub {
        my ($job) = @_;
        $worker->send_work_exception($job, 'raised: ' . $job->arg);
        return;
    },
    empty => sub { return '' },
    zero  => sub { return '0' },
    wait  => sub {
        # The workload names a pipe: one byte from it lets this job through.
        open my $pipe, '<', $_[0]->arg or die "no pipe: $!";
        sysread $pipe, my $byte, 1;
        return 'waited';
    },
);

for my $name (sort keys %functions) {
    my @limit = $name eq 'wait' && defined $timeout ? ($timeout) : ();
    $worker->register_function("${prefix}_$name", @limit, $functions{$name});
}
$worker->work;
