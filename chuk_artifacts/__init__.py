"""A store of files that belong to sessions, on memory, disk or buckets.

>>> from chuk_artifacts import ArtifactStore
>>> with ArtifactStore() as store:
...     artifact_id = store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
...     store.retrieve(artifact_id)
b'Hello, world!'
"""

from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactCorruptedError,
    ArtifactExpiredError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    ConflictError,
    GridError,
    InvalidInputError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    SessionError,
)
from chuk_artifacts.grid import GridKey
from chuk_artifacts.migration import migrate
from chuk_artifacts.models import (
    ArtifactMetadata,
    ArtifactVersion,
    CleanupReport,
    MigrationReport,
    ReindexReport,
    SessionInfo,
    Usage,
)
from chuk_artifacts.store import ArtifactStore

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
    "GridError",
    "GridKey",
    "InvalidInputError",
    "MigrationReport",
    "OutcomeUnknownError",
    "ProviderError",
    "QuotaExceededError",
    "ReindexReport",
    "SessionError",
    "SessionInfo",
    "Usage",
    "__version__",
    "migrate",
]

__version__ = "0.1.0"
