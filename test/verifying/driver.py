import base64
import sys

from verify import verify, verify_simple

for line in sys.stdin:
    which, secret, headers, body = (base64.b64decode(field) for field in line.split())
    named = dict(header.split(": ", 1) for header in headers.decode().split("\n") if header)
    function = verify if which == b"standard" else verify_simple
    print(str(function(named, body, secret.decode())).lower())
