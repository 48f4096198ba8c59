# A client: perl client.pl HOST:PORT[,HOST:PORT...] PREFIX SCENARIO [ARGUMENT...]
# Every scenario prints one JSON value: what happened.
use strict;
use warnings;

use Gearman::Client;
use Gearman::Task;
use JSON::PP;

my ($servers, $prefix, $scenario, @arguments) = @ARGV;
my @events;

sub client {
    return Gearman::Client->new(job_servers => [split /,/, $servers], command_timeout => 10, @_);
}

# The options of a task that tell every callback.
sub listening {
    my ($name, %more) = @_;
    return {
        on_complete  => sub { push @events, [$name, 'complete',  ${ $_[0] }] },
        on_fail      => sub { push @events, [$name, 'fail',      $_[0]] },
        on_status    => sub { push @events, [$name, 'status',    "$_[0]/$_[1]"] },
        on_exception => sub { push @events, [$name, 'exception', $_[0]] },
        on_retry     => sub { push @events, [$name, 'retry',     $_[0]] },
        on_data      => sub { push @events, [$name, 'data',      ${ $_[0] }] },
        on_warning   => sub { push @events, [$name, 'warning',   ${ $_[0] }] },
        %more,
    };
}

my %scenarios = (
    do => sub {
        my ($function, $workload, %options) = @_;
        my $result = client()->do_task("${prefix}_$function", $workload, \%options);
        return { result => $result ? $$result : undef };
    },
    background => sub {
        my ($function, $workload, %options) = @_;
        my $client = client();
        my $handle = $client->dispatch_background("${prefix}_$function", $workload, \%options);
        return { handle => $handle, status => [@{ $client->get_status($handle) }] };
    },
    status => sub {
        my ($handle) = @_;
        my $status = client()->get_status($handle);
        return { known => $status->known, running => $status->running, progress => $status->progress,
            percent => $status->percent };
    },

    # FUNCTION:WORKLOAD:RETRIES, all at once, with every callback.
    set => sub {
        my ($exceptions, @tasks) = @_;
        my $client = client(exceptions => $exceptions);
        my $set = $client->new_task_set;
        for my $task (@tasks) {
            my ($function, $workload, $retries) = split /:/, $task;
            $set->add_task("${prefix}_$function", $workload, listening($workload, retry_count => $retries // 0));
        }
        $set->wait(timeout => 10);
        return \@events;
    },

    # The same unique from two clients in one process.
    unique => sub {
        my ($workload, $unique) = @_;
        my @sets = map { client()->new_task_set } 1 .. 2;
        my @handles = map { $_->add_task("${prefix}_wait", $workload, listening('task', uniq => $unique)) } @sets;
        print encode_json([@handles]), "\n";
        $_->wait(timeout => 10) for @sets;
        return \@events;
    },
    serverstatus => sub { return client()->get_job_server_status },
    timeout => sub {
        my $client = client();
        my $result = $client->do_task("${prefix}_nobody", 'data', listening('task', timeout => 0.3));
        return \@events;
    },
);

$| = 1;
print JSON::PP->new->canonical->allow_nonref->encode($scenarios{$scenario}->(@arguments)), "\n";
