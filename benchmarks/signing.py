"""Signed URLs, made and checked by the thousand, beside the bare HMAC."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from benchmarks.comparison import compare, one_by_one
from benchmarks.effort import Effort
from benchmarks.floors import bare_signature
from benchmarks.result import Result, Rows
from benchmarks.workloads import Work
from chuk_artifacts.signing import DOWNLOAD, Grant, Signer


def rows(effort: Effort) -> Rows:
    """Return what measures the rows."""
    return {"signing/sign": partial(_row, "sign", effort), "signing/check": partial(_row, "check", effort)}


def _row(verb: str, effort: Effort, _: Path) -> Result:
    signer, grant, now = Signer(["k" * 64], "sandbox"), Grant("0" * 32), time.time()
    path, _sign, query = signer.sign(DOWNLOAD, grant, now + 60).partition("?")
    calls = {
        "sign": lambda: signer.sign(DOWNLOAD, grant, now + 60),
        "check": lambda: signer.check(DOWNLOAD, path, query, now),
    }
    ours, floor = one_by_one(Work(calls[verb])), one_by_one(Work(lambda: bare_signature("0" * 32)))
    return compare(f"signing/{verb}", ours, floor, seconds=effort.lap_seconds, rounds=effort.rounds)
