"""Types of arguments of the async store: its options, and data that may be an async iterable."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Literal, Required, TypedDict

from chuk_artifacts.instrumentation import Instrumentation
from chuk_artifacts.settings import SessionProvider, StorageProvider
from chuk_artifacts.source import Data, Described

AsyncData = Data | AsyncIterable[bytes]
"""Data that the async store accepts."""


class AsyncStoreItem(Described):
    """An item of ``store_batch`` of the async store."""

    data: Required[AsyncData]


class Options(TypedDict, total=False):
    """Keyword arguments of :class:`chuk_artifacts.ArtifactStore`."""

    storage_provider: StorageProvider | None
    session_provider: SessionProvider | None
    bucket: str | None
    sandbox_id: str | None
    fs_root: str | os.PathLike[str] | None
    session_ttl_hours: float | None
    max_retries: int
    max_connections: int
    endpoint_url: str | None
    region: str | None
    redis_url: str | None
    postgres_url: str | None
    postgres_schema: str | None
    gateway_url: str | None
    signing_key: str | None
    storage_options: Mapping[str, object] | None
    max_summary_bytes: int
    max_meta_bytes: int
    max_user_id_bytes: int
    keep_versions: int
    max_artifact_bytes: int | None
    max_session_bytes: int | None
    instrumentation: Instrumentation | Literal["auto", "otel"] | None
    clock: Callable[[], float]
