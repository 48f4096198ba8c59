<?php
// Does one job with a function of GearmanManager's, as its file is: php gearman-job.php FILE NAME
// The workload is the standard input, the result the standard output; all that is printed goes to the standard error.

final class CommandJob
{
    private ?string $workload = null;

    public function workload(): string
    {
        return $this->workload ??= stream_get_contents(STDIN);
    }

    public function workloadSize(): int
    {
        return strlen($this->workload());
    }

    public function handle(): string
    {
        return (string) getenv("TXGEAR_HANDLE");
    }

    public function functionName(): string
    {
        return (string) getenv("TXGEAR_FUNCTION");
    }

    public function unique(): string
    {
        return (string) getenv("TXGEAR_UNIQUE");
    }

    public function sendData(string $data): bool
    {
        return fwrite(STDOUT, $data) !== false;
    }

    public function sendWarning(string $text): bool
    {
        return fwrite(STDERR, "$text\n") !== false;
    }

    public function sendStatus(int $numerator, int $denominator): bool
    {
        return true;
    }

    public function sendException(string $text): bool
    {
        fwrite(STDERR, "$text\n");
        exit(1);
    }

    public function sendFail(): bool
    {
        exit(1);
    }
}

if ($argc !== 3) {
    fwrite(STDERR, "php gearman-job.php FILE NAME\n");
    exit(2);
}
[, $file, $name] = $argv;
ob_start(function (string $text): string {
    fwrite(STDERR, $text);
    return "";
});
require $file;
$log = [];
$run = class_exists($name, false) ? [new $name(), "run"] : $name;
$result = $run(new CommandJob(), $log);
ob_end_flush();
foreach ($log as $entry) {
    fwrite(STDERR, (is_scalar($entry) ? $entry : print_r($entry, true)) . "\n");
}
fwrite(STDOUT, (string) $result);
