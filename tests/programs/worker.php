<?php
// A worker: php worker.php SERVERS PREFIX [JOBS [TIMEOUT [ID]]]
// It serves PREFIX_reverse and so on, and ends after JOBS jobs, if that is given and not 0.

[, $servers, $prefix] = $argv;
$jobs = (int) ($argv[3] ?? 0);
$timeout = (int) ($argv[4] ?? 0);

$functions = [
    'reverse' => fn (GearmanJob $job) => strrev($job->workload()),
    'info' => fn (GearmanJob $job) => json_encode([
        'handle' => $job->handle(),
        'function' => $job->functionName(),
        'unique' => $job->unique(),
        'size' => $job->workloadSize(),
    ]),
    'talk' => function (GearmanJob $job) {
        $job->sendStatus(1, 4);
        $job->sendData('first ');
        $job->sendWarning('careful');
        $job->sendData("second\0part");
        $job->sendStatus(4, 4);
        return 'the end of ' . $job->workload();
    },
    'complete' => function (GearmanJob $job) {
        $job->sendComplete('completed by hand');
    },
    'exception' => function (GearmanJob $job) {
        $job->sendException('broken: ' . $job->workload());
        return GEARMAN_WORK_EXCEPTION;
    },
    'fail' => function (GearmanJob $job) {
        $job->sendFail();
    },
    'bad' => function (GearmanJob $job) {
        $job->setReturn(GEARMAN_WORK_FAIL);
        return 'not to be seen';
    },
    'wait' => function (GearmanJob $job) {
        // The workload names a pipe: one byte from it lets this job through.
        $job->sendStatus(3, 7);
        $pipe = fopen($job->workload(), 'r');
        fread($pipe, 1);
        return 'waited';
    },
    'empty' => fn (GearmanJob $job) => '',
    'die' => function (GearmanJob $job) {
        posix_kill(posix_getpid(), SIGKILL);
    },
];

$worker = new GearmanWorker();
if (isset($argv[5])) {
    $worker->setId($argv[5]);
}
try {
    $worker->addServers($servers);
} catch (GearmanException $problem) {
    // It asks every server for exceptions at once, and throws if one is down; the servers are added all the same.
    fwrite(STDERR, $problem->getMessage() . "\n");
}
foreach ($functions as $name => $function) {
    $worker->addFunction("{$prefix}_{$name}", $function, null, $timeout);
}
for ($done = 0; $jobs === 0 || $done < $jobs;) {
    $good = @$worker->work();
    $code = $worker->returnCode();
    if ($code === GEARMAN_SUCCESS || $code === GEARMAN_WORK_FAIL || $code === GEARMAN_WORK_EXCEPTION) {
        $done++;
    } elseif (!$good) {
        fwrite(STDERR, "work: {$code} " . $worker->error() . "\n");
        usleep(50_000);
    }
}
