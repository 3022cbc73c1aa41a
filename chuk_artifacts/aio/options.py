"""The keywords of ``ArtifactStore``, as a type."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypedDict


class Options(TypedDict, total=False):
    """What a store can be built from; see :class:`chuk_artifacts.ArtifactStore`."""

    storage_provider: str | None
    session_provider: str | None
    bucket: str | None
    sandbox_id: str | None
    fs_root: str | os.PathLike[str] | None
    session_ttl_hours: float | None
    max_retries: int
    max_connections: int
    endpoint_url: str | None
    region: str | None
    redis_url: str | None
    gateway_url: str | None
    signing_key: str | None
    storage_options: Mapping[str, Any] | None
    max_summary_bytes: int
    max_meta_bytes: int
    max_user_id_bytes: int
    clock: Callable[[], float]
