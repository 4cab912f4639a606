<?php

require __DIR__ . '/verify.php';

while (($line = fgets(STDIN)) !== false) {
    [$which, $secret, $headers, $body] = array_map('base64_decode', explode(' ', trim($line)));
    $named = [];
    foreach (array_filter(explode("\n", $headers)) as $header) {
        [$name, $value] = explode(': ', $header, 2);
        $named[$name] = $value;
    }
    $function = $which === 'standard' ? 'verify' : 'verify_simple';
    echo json_encode($function($named, $body, $secret)), "\n";
}
