"""Faults to seed in the library: the model must find each. A fault is a context manager that patches one place."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from chuk_artifacts import signing
from chuk_artifacts.catalog.memory import MemoryCatalog
from chuk_artifacts.models import Usage
from chuk_artifacts.operations import changing, cleanup, history, quota, reading, releasing, uploads, writing
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.storage.memory import MemoryStorage
from proof.machine import Machine, Place

Fault = Callable[[], AbstractContextManager[Any]]


def wrapped(owner: Any, name: str, change: Callable[..., Any]) -> Fault:
    """Return a fault: *change* gets the real function and its arguments."""
    real = getattr(owner, name)

    def broken(*arguments: Any, **options: Any) -> Any:
        return change(real, *arguments, **options)

    return lambda: mock.patch.object(owner, name, broken)


def both(first: Fault, second: Fault) -> Fault:
    """Return a fault at two places, each of which makes up for the other."""

    @contextlib.contextmanager
    def together() -> Iterator[None]:
        with first(), second():
            yield

    return together


@contextlib.contextmanager
def constant(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Patch a constant."""
    with mock.patch.object(owner, name, value):
        yield


def _scope_ignored(real: Any, scope: Scope, *arguments: Any, **options: Any) -> Any:
    return real(Scope(scope.core), *arguments, **options)


def _bound_to_nothing(real: Any, self: MemoryCatalog, ids: Any, *, session_id: Any = None, **options: Any) -> Any:
    return real(self, ids, **options)


def _short_page(real: Any, self: MemoryCatalog, *arguments: Any, limit: int, **options: Any) -> Any:
    return real(self, *arguments, limit=limit, **options)[: max(limit - 1, 1)]


def _grown(real: Any, self: MemoryCatalog, session_id: Any) -> Usage:
    usage = real(self, session_id)
    return Usage(artifacts=usage.artifacts, bytes=usage.bytes + (usage.artifacts > 2))


FAULTS: dict[str, Fault] = {
    "a bound store reads other sessions": wrapped(Scope, "check", _scope_ignored),
    "a bound store deletes of other sessions": wrapped(MemoryCatalog, "remove", _bound_to_nothing),
    "an artifact lives a second too long": wrapped(
        Scope, "check", lambda real, s, i, r, now, **o: real(s, i, r, now - 86400, **o)
    ),
    "if_revision is not compared": wrapped(changing.Change, "check", lambda real, self, record: None),
    "earlier contents are never dropped": wrapped(
        changing, "retained", lambda real, superseded, n, at: tuple(superseded)
    ),
    "one version too few is kept": wrapped(
        changing, "retained", lambda real, superseded, n, at: real(superseded, max(n - 1, 0), at)
    ),
    "an earlier content is kept for a minute": lambda: constant(history, "GRACE_SECONDS", 60.0),
    "restore brings back no media type": wrapped(
        changing.Earlier, "fields", lambda real, self, *a: {k: v for k, v in real(self, *a).items() if k != "mime"}
    ),
    "replaced bytes are left": wrapped(changing, "_discard_dropped", lambda real, *a: None),
    "deleted bytes are left": wrapped(cleanup, "delete_bytes", lambda real, *a: None),
    "released bytes are left": wrapped(releasing, "delete_keys", lambda real, *a: None),
    "the upload is left beside its copy": wrapped(uploads, "discard", lambda real, *a: None),
    "the gateway takes uploads of any length": wrapped(
        signing.Signer, "check", lambda real, self, *a: real(self, *a)._replace(max_bytes=None)
    ),
    "a signed URL lives a day too long": wrapped(
        signing.Signer, "_checked", lambda real, self, form, *a: real(self, form, *a[:-1], a[-1] - 86400)
    ),
    "a session's limit is not applied": both(
        wrapped(quota, "admit", lambda real, *a, **o: None),
        wrapped(MemoryCatalog, "_check_room", lambda real, *a: None),
    ),
    "no room is made before a limit is applied": wrapped(quota, "release_session", lambda real, *a: None),
    "usage is wrong by a byte": wrapped(MemoryCatalog, "usage", _grown),
    "a page of a listing misses its last record": wrapped(MemoryCatalog, "page", _short_page),
    "a session outlives nothing": wrapped(
        MemoryCatalog, "expire_sessions", lambda real, self, now, **o: real(self, now - 86400, **o)
    ),
    "exclusive is ignored": wrapped(MemoryCatalog, "_is_taken", lambda real, *a: False),
    "a copy is cut": wrapped(
        MemoryStorage, "get", lambda real, self, key: real(self, key)[:-1] if "~" in key else real(self, key)
    ),
    "a cleanup forgets a day late": lambda: constant(cleanup, "GRACE_SECONDS", 90_000.0),
    "copies keep the age of the original": wrapped(
        changing._Copy, "of", lambda real, self, record: real(self, record).changed(stored_at=record.stored_at)
    ),
    "the first user of a session is lost": wrapped(
        writing, "add", lambda real, core, records, now, **o: real(core, records, now, **{**o, "user_ids": {}})
    ),
    "a revision is that before it": wrapped(
        reading, "content_at", lambda real, record, revision, now: real(record, max(revision - 1, 1), now)
    ),
    "a listing ignores its prefix": wrapped(
        MemoryCatalog, "page", lambda real, self, session_id, *, prefix, **o: real(self, session_id, prefix="", **o)
    ),
    "sessions of all users are listed": wrapped(
        MemoryCatalog, "sessions", lambda real, self, *a, user_id=None, **o: real(self, *a, **o)
    ),
}
IN_THE_GATE = ("a bound store reads other sessions", "deleted bytes are left")


class InMemory(Machine):
    """The machine in memory, where it makes the most calls in a second."""

    @staticmethod
    def place(folder: Path) -> Place:
        """Return the place."""
        return Place({}, shared=False, proves=False)


def find(name: str, seconds: float, number: int) -> float | None:
    """Return after how many seconds the model found a fault; None: not in the time that it had."""
    begun = time.monotonic()
    options = settings(
        max_examples=20,
        stateful_step_count=30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    while time.monotonic() - begun < seconds:
        try:
            with FAULTS[name]():
                run_state_machine_as_test(seed(number)(InMemory), settings=options)
        except Exception:  # noqa: BLE001 - whatever a fault leads to is noticed
            return time.monotonic() - begun
        number += 1
    return None


def main() -> None:
    """Try each fault in a process of its own, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long to look for each fault")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="the first seed")
    parser.add_argument("faults", nargs="*", help="the faults to try; default: all")
    given = parser.parse_args()
    print(f"--seed {given.seed}")
    names = given.faults or [*FAULTS]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        found = processes.map(find, names, [given.seconds] * len(names), [given.seed] * len(names))
        results = []
        for name, took in zip(names, found, strict=True):
            print(f"{'MISSED' if took is None else f'found after {took:.1f} s'}: {name}", flush=True)
            results.append(took)
    print(f"{len(names) - results.count(None)} of {len(names)} found")
    sys.exit(results.count(None) > 0)


if __name__ == "__main__":
    main()
