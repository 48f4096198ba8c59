<?php
// Debian's php-gearman: php php.php worker|client PORT [FUNCTION]
[, $role, $port, $first] = [...$argv, ''];
if ($role === 'worker') {
    $worker = new GearmanWorker();
    $worker->addServer('127.0.0.1', (int) $port);
    $worker->addFunction('echo', fn ($job) => $job->workload());
    // It goes on whatever happens, and does not spin while the server is away.
    while (true) {
        if (!@$worker->work()) {
            usleep(100000);
        }
    }
}
$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $port);
foreach ([[1, $first, 'first'], [2, 'echo', 'second']] as [$number, $function, $workload]) {
    $result = @$client->doNormal($function, $workload);
    $done = $client->returnCode() === GEARMAN_SUCCESS;
    echo "$number ", $done ? "result $result" : 'error ' . strtok($client->error(), "\n"), "\n";
}
