"""Fixtures of pytest for programs that use this library; see ``docs/howto/testing.md``.

The wheel also holds this module as ``chuk_artifacts_testing``, which is pytest's entry point. So importing it must load
nothing of this package: every start of pytest does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from chuk_artifacts import ArtifactStore


class ArtifactClock:
    """The time of the stores of a test, in seconds since the epoch, which only the test moves.

    Attributes:
        now: the time.

    Example:
        >>> clock = ArtifactClock(1000.0)
        >>> clock.advance(60)
        >>> clock()
        1060.0

    """

    def __init__(self, now: float) -> None:
        """Begin at *now*."""
        self.now: float = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time forward by *seconds*.

        Example:
            >>> clock = ArtifactClock(1000.0)
            >>> clock.advance(60)
            >>> clock.now
            1060.0

        """
        self.now += seconds


@pytest.fixture
def artifact_clock() -> ArtifactClock:
    """Return the clock of the test's stores: it stands still until the test moves it."""
    import time  # noqa: PLC0415 - as in the docstring of the module

    return ArtifactClock(time.time())


@pytest.fixture
def artifact_store_factory(
    artifact_clock: ArtifactClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., ArtifactStore]]:
    """Return a function that makes stores with the arguments of ``ArtifactStore``; the end of the test closes them.

    Variables that configure stores are unset, so that a test never reaches a real one by accident. Its stores have the
    test's clock.
    """
    from chuk_artifacts import ArtifactStore  # noqa: PLC0415 - as in the docstring of the module
    from chuk_artifacts.settings import configured  # noqa: PLC0415 - as above

    for name in configured():
        monkeypatch.delenv(name)
    with ExitStack() as stores:

        def make(**options: Any) -> ArtifactStore:
            return stores.enter_context(ArtifactStore(**{"clock": artifact_clock, **options}))

        yield make


@pytest.fixture
def artifact_store(artifact_store_factory: Callable[..., ArtifactStore]) -> ArtifactStore:
    """Return a new store in memory."""
    return artifact_store_factory()


@pytest.fixture
def artifact_folder_store(artifact_store_factory: Callable[..., ArtifactStore], tmp_path: Path) -> ArtifactStore:
    """Return a new store on disk, in the test's temporary folder."""
    return artifact_store_factory(storage_provider="filesystem", fs_root=tmp_path / "artifacts")
