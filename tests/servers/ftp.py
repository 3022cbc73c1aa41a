"""Starts a real FTP server for tests: a filesystem with folders, renames and connections that are not shared."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

with warnings.catch_warnings():  # it is built on asyncore, which Python 3.11 has and warns of
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

USER, PASSWORD = "user", "pa@ss:word"


@contextlib.contextmanager
def ftp_server(folder: Path) -> Iterator[str]:
    """Serve a folder on a free loopback port, and give host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm="elradfmwMT")
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer, "banner": "ready", "auth_failed_timeout": 0})
    server = ThreadedFTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.address[1]}"
    finally:
        server.close_all()
        thread.join(5)
