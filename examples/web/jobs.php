<?php
// Jobs by txgear's web API from PHP, without any extension.
// Usage: php jobs.php http://127.0.0.1:4780 FUNCTION [TOKEN]
declare(strict_types=1);

final class Txgear
{
    public function __construct(private string $base, private string $token = '')
    {
    }

    // Open a request: the stream of its answer's body, its status and its headers.
    private function open(string $method, string $path, string $body = '', array $headers = []): array
    {
        if ($this->token !== '') {
            $headers['Authorization'] = "Bearer {$this->token}";
        }
        $headers += ['Content-Type' => 'application/octet-stream'];
        $lines = array_map(fn ($name) => "$name: {$headers[$name]}", array_keys($headers));
        $context = stream_context_create(['http' => [
            'method' => $method,
            'header' => $lines,
            'content' => $body,
            'protocol_version' => 1.1,
            'ignore_errors' => true,      // answers with 4xx and 5xx have bodies, too
            'follow_location' => 0,
            'timeout' => 70,              // seconds without a byte
        ]]);
        $stream = @fopen($this->base . $path, 'rb', false, $context);
        if ($stream === false) {
            throw new RuntimeException("$this->base does not answer");
        }
        $status = 0;
        $found = [];
        foreach (stream_get_meta_data($stream)['wrapper_data'] as $line) {
            if (preg_match('~^HTTP/\S+ (\d+)~', $line, $match)) {
                $status = (int) $match[1];
                $found = [];
            } elseif (str_contains($line, ':')) {
                [$name, $value] = explode(':', $line, 2);
                $found[strtolower($name)] = trim($value);
            }
        }
        return [$stream, $status, $found];
    }

    // One request: status, body and headers of its answer. A problem is an exception.
    public function ask(string $method, string $path, string $body = '', array $headers = []): array
    {
        [$stream, $status, $found] = $this->open($method, $path, $body, $headers);
        $text = stream_get_contents($stream);
        if ($status >= 400) {
            $problem = json_decode($text, true) ?? [];
            throw new RuntimeException("$status: " . ($problem['detail'] ?? $text), $status);
        }
        return [$status, $text, $found];
    }

    // Submit a background job: its handle. Policy: ['retries' => 3, 'results' => '1d'], for instance.
    public function submit(string $function, string $workload, array $query = [], array $policy = []): string
    {
        $headers = [];
        foreach ($policy as $name => $value) {
            $header = 'Txgear-' . ucwords(str_replace('_', '-', $name), '-');
            $headers[$header] = is_array($value) ? json_encode($value) : (string) $value;
        }
        [, , $found] = $this->ask('POST', $this->jobs($function, $query), $workload, $headers);
        return $found['txgear-handle'];
    }

    // Submit many background jobs in one request: what became of each.
    public function submitMany(array $jobs): array
    {
        [, $text] = $this->ask(
            'POST',
            '/api/v1/jobs',
            json_encode(['jobs' => $jobs], JSON_THROW_ON_ERROR),
            ['Content-Type' => 'application/json']
        );
        return json_decode($text, true)['jobs'];
    }

    // The result of a job, when it is there; null while the job has not ended after so many seconds.
    public function result(string $handle, int $wait = 0): ?string
    {
        $path = '/api/v1/jobs/' . rawurlencode($handle) . '/result?wait=' . $wait;
        [$status, $text] = $this->ask('GET', $path);
        return $status === 200 ? $text : null;
    }

    // Have a job done while we wait; tell each event by $tell($name, $data). Its result.
    public function follow(string $function, string $workload, callable $tell): string
    {
        [$stream, $status] = $this->open(
            'POST',
            $this->jobs($function),
            $workload,
            ['Accept' => 'text/event-stream']
        );
        if ($status !== 200) {
            throw new RuntimeException("$status: " . stream_get_contents($stream), $status);
        }
        $result = '';
        $name = '';
        while (($line = fgets($stream)) !== false) {
            if (str_starts_with($line, 'event: ')) {
                $name = trim(substr($line, 7));
            } elseif (str_starts_with($line, 'data: ')) {
                $data = json_decode(substr($line, 6), true);
                $tell($name, $data);
                if ($name === 'restarted') {
                    $result = '';       // another attempt: what was sent before is void
                } elseif ($name === 'data' || $name === 'completed') {
                    $result .= $data['text'] ?? base64_decode($data['base64']);
                }
                if ($name === 'completed') {
                    return $result;
                } elseif ($name === 'failed') {
                    throw new RuntimeException($data['exception']['text'] ?? $data['detail']);
                }
            }
        }
        throw new RuntimeException('the connection was lost');
    }

    private function jobs(string $function, array $query = []): string
    {
        $path = '/api/v1/functions/' . rawurlencode($function) . '/jobs';
        return $query === [] ? $path : $path . '?' . http_build_query($query);
    }
}

if (realpath($_SERVER['SCRIPT_FILENAME'] ?? '') === __FILE__) {
    if ($argc < 3) {
        fwrite(STDERR, "usage: php jobs.php http://127.0.0.1:4780 FUNCTION [TOKEN]\n");
        exit(2);
    }
    [, $base, $function] = $argv;
    $txgear = new Txgear(rtrim($base, '/'), $argv[3] ?? '');

    // In the background: tried again up to three times, the result kept for an hour.
    $handle = $txgear->submit($function, 'one', policy: ['retries' => 3, 'backoff' => '1s', 'results' => '1h']);
    echo "submitted\n";
    while (($result = $txgear->result($handle, 60)) === null) {
        // It has not ended yet: ask again.
    }
    echo "result $result\n";

    // At a time, and once only: who submits it again joins it.
    $query = ['when' => gmdate(DATE_ATOM, time() + 3), 'unique' => 'report-1'];
    $first = $txgear->submit($function, 'two', $query, ['results' => '1h']);
    $again = $txgear->submit($function, 'two', $query, ['results' => '1h']);
    echo $first === $again ? "joined\n" : "two jobs\n";
    echo 'result ' . $txgear->result($first, 60) . "\n";

    // Many at once.
    $jobs = [];
    foreach (range(1, 100) as $number) {
        $jobs[] = ['function' => $function, 'workload' => "job $number", 'policy' => ['retries' => 3]];
    }
    $accepted = array_filter($txgear->submitMany($jobs), fn ($outcome) => $outcome['status'] === 202);
    echo count($accepted) . " accepted\n";

    // While we wait: its progress, and its result.
    $result = $txgear->follow($function, 'three', function (string $name, array $data): void {
        if ($name === 'progress') {
            echo "progress {$data['numerator']} of {$data['denominator']}\n";
        }
    });
    echo "result $result\n";
}
