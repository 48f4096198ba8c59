#!/usr/bin/perl
# Jobs by txgear's web API from Perl, with modules of Perl itself only.
# Usage: perl jobs.pl http://127.0.0.1:4780 FUNCTION [TOKEN]
use strict;
use warnings;

package Txgear;

use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 ();

sub new {
    my ($class, $base, $token) = @_;
    my %headers = $token ? (Authorization => "Bearer $token") : ();
    # Seconds without a byte.
    my $http = HTTP::Tiny->new(timeout => 70, max_redirect => 0, default_headers => \%headers);
    return bless { base => $base, http => $http, json => JSON::PP->new->utf8 }, $class;
}

sub _part {
    my ($name) = @_;
    $name =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge;
    return $name;
}

sub _jobs {
    my ($self, $function, %query) = @_;
    my $path = '/api/v1/functions/' . _part($function) . '/jobs';
    return %query ? "$path?" . $self->{http}->www_form_urlencode(\%query) : $path;
}

# One request: its answer, as HTTP::Tiny has it. A problem is an exception.
sub ask {
    my ($self, $method, $path, %options) = @_;
    my $answer = $self->{http}->request($method, $self->{base} . $path, \%options);
    if (!$answer->{success}) {
        my $problem = eval { $self->{json}->decode($answer->{content}) } || {};
        die "$answer->{status}: " . ($problem->{detail} || $answer->{content}) . "\n";
    }
    return $answer;
}

# Submit a background job: its handle.
# query => { unique => 'u', when => time + 60 }, policy => { retries => 3, results => '1d' }
sub submit {
    my ($self, $function, $workload, %more) = @_;
    my %headers = ('Content-Type' => 'application/octet-stream');
    my $policy = $more{policy} || {};
    for my $name (keys %$policy) {
        my $header = join '-', 'Txgear', map { ucfirst } split /_/, $name;
        my $value = $policy->{$name};
        $headers{$header} = ref $value ? $self->{json}->encode($value) : $value;
    }
    my $path = $self->_jobs($function, %{ $more{query} || {} });
    my $answer = $self->ask('POST', $path, content => $workload, headers => \%headers);
    return $answer->{headers}{'txgear-handle'};
}

# Submit many background jobs in one request: what became of each.
sub submit_many {
    my ($self, @jobs) = @_;
    my $answer = $self->ask(
        'POST', '/api/v1/jobs',
        content => $self->{json}->encode({ jobs => \@jobs }),
        headers => { 'Content-Type' => 'application/json' },
    );
    return @{ $self->{json}->decode($answer->{content})->{jobs} };
}

# The result of a job, when it is there; undef while the job has not ended after so many seconds.
sub result {
    my ($self, $handle, $wait) = @_;
    my $answer = $self->ask('GET', '/api/v1/jobs/' . _part($handle) . '/result?wait=' . ($wait || 0));
    return $answer->{status} == 200 ? $answer->{content} : undef;
}

# Have a job done while we wait; tell each event by $tell->($name, $data). Its result.
sub follow {
    my ($self, $function, $workload, $tell) = @_;
    my ($buffer, $name, $result, $ended, $failed) = ('', '', '', 0, undef);
    my $line = sub {
        my ($text) = @_;
        if ($text =~ /^event: (.*)/) {
            $name = $1;
        }
        elsif ($text =~ /^data: (.*)/) {
            my $data = $self->{json}->decode($1);
            $tell->($name, $data);
            # Another attempt: what was sent before is void.
            $result = '' if $name eq 'restarted';
            if ($name eq 'data' || $name eq 'completed') {
                my $bytes = $data->{text};
                defined $bytes ? utf8::encode($bytes) : ($bytes = MIME::Base64::decode_base64($data->{base64}));
                $result .= $bytes;
            }
            $failed = $data->{exception}{text} || $data->{detail} if $name eq 'failed';
            $ended = 1 if $name eq 'completed';
        }
    };
    my $answer = $self->ask(
        'POST', $self->_jobs($function),
        content       => $workload,
        headers       => { Accept => 'text/event-stream', 'Content-Type' => 'application/octet-stream' },
        data_callback => sub {
            $buffer .= $_[0];
            $line->($1) while $buffer =~ s/^([^\n]*)\n//;
        },
    );
    die "$failed\n" if defined $failed;
    die "the connection was lost\n" if !$ended;
    return $result;
}

package main;

if (!caller) {
    if (@ARGV < 2) {
        print STDERR "usage: perl jobs.pl http://127.0.0.1:4780 FUNCTION [TOKEN]\n";
        exit 2;
    }
    my ($base, $function, $token) = @ARGV;
    $base =~ s{/+$}{};
    my $txgear = Txgear->new($base, $token);
    local $| = 1;

    # In the background: tried again up to three times, the result kept for an hour.
    my $policy = { retries => 3, backoff => '1s', results => '1h' };
    my $handle = $txgear->submit($function, 'one', policy => $policy);
    print "submitted\n";
    my $result;
    until (defined $result) {
        # It has not ended yet: ask again.
        $result = $txgear->result($handle, 60);
    }
    print "result $result\n";

    # At a time, and once only: who submits it again joins it.
    my %order = (query => { when => time + 3, unique => 'report-1' }, policy => { results => '1h' });
    my $first = $txgear->submit($function, 'two', %order);
    my $again = $txgear->submit($function, 'two', %order);
    print $first eq $again ? "joined\n" : "two jobs\n";
    print 'result ', $txgear->result($first, 60), "\n";

    # Many at once.
    my @jobs = map { { function => $function, workload => "job $_", policy => { retries => 3 } } } 1 .. 100;
    my $accepted = grep { $_->{status} == 202 } $txgear->submit_many(@jobs);
    print "$accepted accepted\n";

    # While we wait: its progress, and its result.
    $result = $txgear->follow($function, 'three', sub {
        my ($name, $data) = @_;
        print "progress $data->{numerator} of $data->{denominator}\n" if $name eq 'progress';
    });
    print "result $result\n";
}

1;
