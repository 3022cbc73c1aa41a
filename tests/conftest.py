"""What all tests share: a clock that stands still, and an environment without configuration."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from servers.redis import (  # noqa: F401 - fixtures
    redis_cluster,
    redis_cluster_url,
    redis_sentinel,
    redis_sentinel_url,
    redis_server,
    redis_url,
)

CONFIGURATION = ("ARTIFACT_", "SESSION_", "AWS_", "IBM_", "S3_")


class Clock:
    """The present, in seconds since the epoch, that only a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        """Return the present."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the configuration and the files of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(CONFIGURATION):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
