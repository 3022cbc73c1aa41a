"""A bucket at the other end of a link on which every answer takes 20 ms, beside a client as boto3 makes it."""

from __future__ import annotations

import contextlib
import itertools
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

from benchmarks.comparison import compare, one_by_one
from benchmarks.effort import KIB, Effort
from benchmarks.result import Result, Rows
from benchmarks.servers import BUCKET, MissingError, Servers
from benchmarks.workloads import Work
from chuk_artifacts import ArtifactStore
from tests.servers.proxy import Proxy

NAME = "link20ms/store/1KiB"
_DELAY_SECONDS = 0.02
_SESSION = "bench"


def rows(effort: Effort) -> Rows:
    """Return what measures the row."""
    return {NAME: partial(_row, effort)}


def _row(effort: Effort, folder: Path) -> Result:
    with contextlib.ExitStack() as ending:
        try:
            server = Servers(folder, ending).bucket
        except MissingError as error:
            return Result(name=NAME, skipped=str(error))
        proxy = ending.enter_context(Proxy(int(urlsplit(server.url).port or 0)))
        proxy.delay = _DELAY_SECONDS
        far, data, keys = f"http://127.0.0.1:{proxy.port}", b"x" * KIB, map(str, itertools.count())
        plain: Any = boto3.client("s3", endpoint_url=far, region_name="us-east-1")
        store = ending.enter_context(ArtifactStore(storage_provider="s3", bucket=BUCKET, endpoint_url=far))
        return compare(
            NAME,
            one_by_one(Work(lambda: store.store(data, session_id=_SESSION))),
            one_by_one(Work(lambda: plain.put_object(Bucket=BUCKET, Key=f"far/{next(keys)}", Body=data))),
            seconds=2 * effort.answers_seconds,
            rounds=effort.rounds,
            parameters={"server": server.name},
        )
