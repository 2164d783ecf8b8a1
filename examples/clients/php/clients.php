<?php
// Logs in, uses the token, verifies it as a service does, and releases it. Needs PHP 8 with its curl extension.

// What is marked as sensitive is not shown in the trace of an exception (from PHP 8.2 on).
declare(strict_types=1);

/** Returns the status and the JSON of an answer. What is no answer of Doorward's throws: an outage says nothing about
 * a token. */
function ask(string $path, #[SensitiveParameter] array $options = []): array
{
    $curl = curl_init(getenv('DOORWARD_URL') . $path);
    curl_setopt_array($curl, $options + [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_FOLLOWLOCATION => false, // a redirect would take the credential elsewhere
        CURLOPT_TIMEOUT => 5,
    ]);
    $body = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    if ($body === false || $status >= 500 || $status === 429) {
        throw new RuntimeException("Doorward is unavailable: status $status " . curl_error($curl));
    }
    return [$status, json_decode($body, true, 16, JSON_THROW_ON_ERROR)];
}

function post(string $path, #[SensitiveParameter] array $body): array
{
    return ask($path, [
        CURLOPT_POSTFIELDS => json_encode($body, JSON_THROW_ON_ERROR),
        CURLOPT_HTTPHEADER => ['Content-Type: application/json'],
    ]);
}

function log_in(string $organisation, string $username, #[SensitiveParameter] string $password): string
{
    $body = ['organisation' => $organisation, 'username' => $username, 'password' => $password];
    [, $answer] = post('/authentication/token', $body);
    if ($answer['status']['code'] !== 'OK') {
        throw new RuntimeException($answer['status']['code'] . ': ' . $answer['status']['message']);
    }
    return $answer['data']['token'];
}

/** Whom the token speaks for; null if it is not in force. Ask for each request: a cache lets released tokens live. */
function verify(#[SensitiveParameter] string $token, #[SensitiveParameter] string $key): ?array
{
    [$status, $answer] = ask('/oauth2/introspect', [
        CURLOPT_USERPWD => "$key:",
        CURLOPT_POSTFIELDS => http_build_query(['token' => $token]),
    ]);
    if ($status !== 200) {
        throw new RuntimeException($answer['error'] . ': ' . $answer['error_description']);
    }
    return $answer['active'] === true ? $answer : null;
}

function release(#[SensitiveParameter] string $token): void
{
    [$status] = post('/authentication/token/release', ['token' => $token]);
    if ($status !== 200) {
        throw new RuntimeException('the token may still be in force');
    }
}

$key = getenv('DOORWARD_KEY');
$token = log_in(getenv('DOORWARD_ORGANISATION'), getenv('DOORWARD_USERNAME'), getenv('DOORWARD_PASSWORD'));
try {
    // Any guarded API takes the token in this header; Doorward's own tells whose it is.
    [$status] = ask('/authentication/token', [CURLOPT_HTTPHEADER => ["Authorization: Bearer $token"]]);
    echo "used: $status\n";
    $identity = verify($token, $key);
    if ($identity !== null) {
        echo "active: {$identity['username']} of {$identity['organisation']}\n";
    }
} finally {
    release($token);
}
if (verify($token, $key) === null) {
    echo "released\n";
}
