"""Orders, a small Web API in Python.

It knows nothing of tokens: whoever gets through to it has been checked, and headers say who it is.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

orders = {}  # by organisation: nobody sees another organisation's


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.body()  # what is left of it would be read as the next request
        who = self.who()
        self.answer(200, {"by": "python", "who": who, "orders": orders.get(who["organisation"], [])})

    def do_POST(self):
        who = self.who()
        order = json.loads(self.body() or b"{}")
        order["from"] = who["user"]
        orders.setdefault(who["organisation"], []).append(order)
        self.answer(201, {"by": "python", "who": who, "order": order})

    def who(self):
        names = {"organisation": "X-Auth-Organisation", "unit": "X-Auth-Unit", "user": "X-Auth-User"}
        return {name: unquote(self.headers.get(header, "")) for name, header in names.items()}

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Orders).serve_forever()
