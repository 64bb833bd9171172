"""A webhook: writes each body that it takes to a file, a line each. Checks the signature."""

import hashlib
import hmac
import http.server
import sys

port, out, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        good = hmac.compare_digest(self.headers.get("X-Hub-Signature-256", ""), expected)
        if good:
            with open(out, "ab") as file:
                file.write(body + b"\n")
        self.send_response(204 if good else 403)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Hook)
print("ready", flush=True)
server.serve_forever()
