"""A stand-in for the token endpoint of IBM Cloud IAM, for the real SDK to talk to."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

API_KEY = "test-api-key"


class Iam:
    """What the endpoint answers, and what it was asked.

    Attributes:
        url: where it answers.
        lifetime: how long a token lives, in seconds.
        grants: the grant types it was asked for, in their order.
        broken: what it answers instead, as status and body, or None.

    """

    def __init__(self) -> None:
        self.url = ""
        self.lifetime = 3600
        self.grants: list[str] = []
        self.broken: tuple[int, bytes] | None = None

    def answer(self, form: dict[str, list[str]]) -> tuple[int, bytes]:
        """Return status and body."""
        grant = form["grant_type"][0].rpartition(":")[2]
        self.grants.append(grant)
        if self.broken is not None:
            return self.broken
        if grant == "apikey" and form["apikey"] != [API_KEY]:
            problem = {"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}
            return 400, json.dumps(problem).encode()
        token = {
            "access_token": f"token-{len(self.grants)}",
            "refresh_token": "again",
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "expiration": int(time.time()) + self.lifetime,
        }
        return 200, json.dumps(token).encode()


@contextlib.contextmanager
def running() -> Iterator[Iam]:
    """Answer on a free port."""
    iam = Iam()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = iam.answer(parse_qs(body.decode()))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    iam.url = f"http://127.0.0.1:{server.server_port}/identity/token"
    try:
        yield iam
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
