"""Free ports."""

from __future__ import annotations

import random
import socket

_LOWEST, _HIGHEST = 12_000, 22_000  # Redis Cluster needs the port 10,000 above too; the system takes those from 32,768
_BUS = 10_000


def free_port() -> int:
    """Return a free port; the port 10,000 above it is free too."""
    while True:
        port = random.randrange(_LOWEST, _HIGHEST)
        if _is_free(port) and _is_free(port + _BUS):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
