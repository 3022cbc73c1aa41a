"""The async store: the same methods, awaited, beside the same other public names.

>>> import asyncio
>>> from chuk_artifacts.aio import ArtifactStore
>>> async def main():
...     async with ArtifactStore() as store:
...         artifact_id = await store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
...         return await store.retrieve(artifact_id)
>>> asyncio.run(main())
b'Hello, world!'
"""

from chuk_artifacts import (
    AccessDeniedError,
    ArtifactCorruptedError,
    ArtifactExpiredError,
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactStoreError,
    ArtifactVersion,
    CleanupReport,
    ConflictError,
    GridError,
    GridKey,
    InvalidInputError,
    MigrationReport,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    ReindexReport,
    SessionError,
    SessionInfo,
    Usage,
    __version__,
)
from chuk_artifacts.aio.gateway import Gateway
from chuk_artifacts.aio.migration import migrate
from chuk_artifacts.aio.respond import Response, respond
from chuk_artifacts.aio.store import ArtifactStore
from chuk_artifacts.aio.streams import Reader

__all__ = [
    "AccessDeniedError",
    "ArtifactCorruptedError",
    "ArtifactExpiredError",
    "ArtifactMetadata",
    "ArtifactNotFoundError",
    "ArtifactStore",
    "ArtifactStoreError",
    "ArtifactVersion",
    "CleanupReport",
    "ConflictError",
    "Gateway",
    "GridError",
    "GridKey",
    "InvalidInputError",
    "MigrationReport",
    "OutcomeUnknownError",
    "ProviderError",
    "QuotaExceededError",
    "Reader",
    "ReindexReport",
    "Response",
    "SessionError",
    "SessionInfo",
    "Usage",
    "__version__",
    "migrate",
    "respond",
]
