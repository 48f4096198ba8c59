<?php
// A worker whose jobs fail at first: php flaky_worker.php SERVERS PREFIX
// It serves PREFIX_flaky and PREFIX_needs until it is ended.

[, $servers, $prefix] = $argv;
$attempts = [];

$functions = [
    // Fails, then raises an exception, then succeeds; at each attempt some data go out before.
    'flaky' => function (GearmanJob $job) use (&$attempts) {
        $attempt = $attempts[$job->handle()] = ($attempts[$job->handle()] ?? 0) + 1;
        $job->sendData("attempt {$attempt};");
        if ($attempt === 1) {
            $job->sendFail();
            return null;
        }
        if ($attempt === 2) {
            $job->sendException('not yet');
            return GEARMAN_WORK_EXCEPTION;
        }
        return 'done';
    },
    // Needs a file.
    'needs' => function (GearmanJob $job) {
        $content = @file_get_contents($job->workload());
        if ($content === false) {
            $job->sendException('there is no ' . basename($job->workload()));
            return GEARMAN_WORK_EXCEPTION;
        }
        return strtoupper($content);
    },
];

$worker = new GearmanWorker();
$worker->setId('flaky-php');
$worker->addServers($servers);
foreach ($functions as $name => $function) {
    $worker->addFunction("{$prefix}_{$name}", $function);
}
while ($worker->work());
