<?php
// A client: php client.php SERVERS PREFIX SCENARIO [ARGUMENT...]
// Every scenario prints one JSON value: what happened.

[, $servers, $prefix, $scenario] = $argv;
$arguments = array_slice($argv, 4);
$events = [];

function client(string $servers, bool $exceptions = true): GearmanClient
{
    $client = new GearmanClient();
    $client->setTimeout(10_000);
    $client->addServers($servers, $exceptions);
    return $client;
}

function listen(GearmanClient $client, bool $exceptions = true): void
{
    global $events;
    $tell = function (string $what, ?callable $more = null) use (&$events): callable {
        return function (GearmanTask $task, $context = null) use ($what, $more, &$events) {
            $name = preg_replace('/^.*_/', '', (string) $task->functionName());
            $events[] = [$what, $name, $context ?? '', $more === null ? '' : $more($task)];
            return GEARMAN_SUCCESS;
        };
    };
    $data = fn (GearmanTask $task) => $task->data();
    $client->setCreatedCallback($tell('created', fn (GearmanTask $task) => $task->jobHandle() !== ''));
    $client->setDataCallback($tell('data', $data));
    $client->setWarningCallback($tell('warning', $data));
    $client->setStatusCallback(
        $tell('status', fn (GearmanTask $task) => [$task->taskNumerator(), $task->taskDenominator()])
    );
    $client->setCompleteCallback($tell('complete', $data));
    if ($exceptions) {
        $client->setExceptionCallback($tell('exception', $data));
    }
    $client->setFailCallback($tell('fail'));
}

$scenarios = [
    // The three that wait, and what they return.
    'do' => function (string $how, string $function, string $workload, string $unique = '') use ($servers, $prefix) {
        $client = client($servers);
        $result = $client->{$how}("{$prefix}_{$function}", $workload, $unique === '' ? null : $unique);
        return ['result' => $result, 'code' => $client->returnCode()];
    },
    // The three that do not wait.
    'background' => function (string $how, string $function, string $workload, string $unique = '') use (
        $servers,
        $prefix
    ) {
        $client = client($servers);
        $handle = $client->{$how}("{$prefix}_{$function}", $workload, $unique === '' ? null : $unique);
        return ['handle' => $handle, 'code' => $client->returnCode(), 'status' => $client->jobStatus($handle)];
    },
    'status' => function (string $handle) use ($servers) {
        return client($servers)->jobStatus($handle);
    },
    'uniquestatus' => function (string $unique) use ($servers) {
        return client($servers)->jobStatusByUniqueKey($unique);
    },
    // Tasks of every kind at once, with every callback.
    'tasks' => function (string ...$tasks) use ($servers, $prefix, &$events) {
        $client = client($servers);
        listen($client);
        foreach ($tasks as $task) {
            [$how, $function, $workload] = explode(':', $task, 3);
            $kept[] = $client->{$how}("{$prefix}_{$function}", $workload, "context of {$workload}");
        }
        $good = $client->runTasks();
        return ['good' => $good, 'code' => $client->returnCode(), 'events' => $events];
    },
    // The status of jobs, asked as tasks.
    'statustasks' => function (string ...$handles) use ($servers) {
        $client = client($servers);
        $found = [];
        $client->setStatusCallback(function (GearmanTask $task) use (&$found) {
            $found[$task->jobHandle()] = [
                $task->isKnown(), $task->isRunning(), $task->taskNumerator(), $task->taskDenominator(),
            ];
        });
        foreach ($handles as $handle) {
            $kept[] = $client->addTaskStatus($handle);
        }
        $client->runTasks();
        return $found;
    },
    'ping' => function (string $data) use ($servers) {
        $worker = new GearmanWorker();
        $worker->addServers($servers);
        return [client($servers)->ping($data), $worker->ping($data)];
    },
    'options' => function () use ($servers, $prefix) {
        $client = client($servers);
        $answers = [
            $client->setOptions(GEARMAN_CLIENT_FREE_TASKS),
            $client->addOptions(GEARMAN_CLIENT_UNBUFFERED_RESULT),
            $client->options() & (GEARMAN_CLIENT_FREE_TASKS | GEARMAN_CLIENT_UNBUFFERED_RESULT),
            $client->removeOptions(GEARMAN_CLIENT_UNBUFFERED_RESULT),
            $client->options() & GEARMAN_CLIENT_UNBUFFERED_RESULT,
        ];
        return [$answers, $client->doNormal("{$prefix}_reverse", 'abc')];
    },
    // Without the exceptions option an exception is a plain failure.
    'noexceptions' => function () use ($servers, $prefix, &$events) {
        $client = client($servers, false);
        listen($client, false);
        $client->addTask("{$prefix}_exception", 'quiet', 'context');
        return ['good' => $client->runTasks(), 'events' => $events];
    },
    'lateexceptions' => function () use ($servers, $prefix, &$events) {
        $client = client($servers, false);
        $on = $client->enableExceptionHandler();
        listen($client);
        $client->addTask("{$prefix}_exception", 'loud', 'context');
        return ['on' => $on, 'good' => $client->runTasks(), 'events' => $events];
    },
    'timeout' => function () use ($servers, $prefix) {
        $client = client($servers);
        $client->setTimeout(200);
        $result = @$client->doNormal("{$prefix}_nobody", 'data');
        return ['result' => $result, 'code' => $client->returnCode()];
    },
    // The second server of two is used where the first is down.
    'onedown' => function () use ($servers, $prefix) {
        $client = client($servers, false);
        $answers = [];
        foreach (['1', '2', '3'] as $workload) {
            $answers[] = $client->doBackground("{$prefix}_reverse", $workload) !== '';
        }
        return $answers;
    },
    'large' => function (string $size) use ($servers, $prefix) {
        $data = str_repeat(implode('', array_map('chr', range(0, 255))), intdiv((int) $size, 256));
        return client($servers)->doNormal("{$prefix}_reverse", $data) === strrev($data);
    },
];

echo json_encode($scenarios[$scenario](...$arguments), JSON_INVALID_UTF8_SUBSTITUTE), "\n";
