"""``artifact://{session_id}/{filename}``: a store as an fsspec filesystem, for programs that open files by URL."""

from __future__ import annotations

from inspect import signature
from typing import Any

from fsspec.utils import tokenize

from chuk_artifacts.core import forget_shared_cores
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.filesystem.made import MadeFolders
from chuk_artifacts.filesystem.moving import Moving
from chuk_artifacts.filesystem.opening import Opening
from chuk_artifacts.filesystem.paths import PROTOCOL
from chuk_artifacts.filesystem.reading import Reading
from chuk_artifacts.redaction import public_url
from chuk_artifacts.store import ArtifactStore, SharedStore

_OF_FSSPEC = ("asynchronous", "loop", "batch_size", "use_listings_cache", "listings_expiry_time", "max_paths")
_OF_STORE = list(signature(ArtifactStore).parameters)
_NOT_SECRET = frozenset(
    {
        "session_id",
        "session_provider",
        "bucket",
        "sandbox_id",
        "fs_root",
        "session_ttl_hours",
        "max_retries",
        "max_connections",
        "max_summary_bytes",
        "max_meta_bytes",
        "max_user_id_bytes",
        "keep_versions",
        "region",
    }
)


class ArtifactFileSystem(Reading, Opening, Moving):
    """The artifacts of a store as files: ``{session_id}/{filename}``.

    The session is the first segment of a path, percent-encoded where it holds what a URL gives a meaning to. Folders
    are the beginnings of filenames up to a slash, and gone with their last file; one that :meth:`mkdir` has made is
    remembered by this object until a file is in it. An artifact without a filename appears under its id. A store may
    hold several artifacts with one filename: the path is the newest of them, ``others`` in its info counts the rest,
    and :meth:`rm` and :meth:`mv` take them all. A write makes no second one.

    Writing to the path of an artifact makes a new revision of it. A file appears whole when it is closed, or not at
    all. A whole file is verified when it is read; of a range only the artifact's length is.

    Filesystems with the same settings share one :class:`ArtifactStore` in a process, so that making one is cheap, and
    finds artifacts in memory again. fsspec's own cache of instances is not used: it would keep one for each thread and
    session for ever, and would not notice a changed environment. Listings are not cached either. A filesystem pickles
    as its settings without secrets, which the other process takes from its own environment.

    The methods raise errors as :class:`ArtifactStore` describes. ``ArtifactNotFoundError`` is a
    ``FileNotFoundError``, ``AccessDeniedError`` a ``PermissionError``, and an outage never looks like a missing file.

    Args:
        store: the store; None: one of *arguments*, or of the environment.
        session_id: the one session that can be reached; None: all.
        arguments: the arguments of :class:`ArtifactStore`.

    Attributes:
        store: the store, bound if *session_id* is given.

    Raises:
        InvalidInputError: an argument is invalid.
        AccessDeniedError: *store* is bound to another session than *session_id*.

    Example:
        >>> fs = ArtifactFileSystem(ArtifactStore())
        >>> fs.pipe_file("user_alice/notes/a.txt", b"Hello, world!")
        >>> fs.find("user_alice")
        ['user_alice/notes/a.txt']
        >>> with fs.open("user_alice/notes/a.txt", "rt") as file:
        ...     file.read(5)
        'Hello'

    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, store: ArtifactStore | None = None, *, session_id: str | None = None, **arguments: Any) -> None:
        super().__init__()
        for name in _OF_FSSPEC:
            arguments.pop(name, None)
        unknown = sorted(arguments.keys() - _OF_STORE)
        if unknown:
            raise InvalidInputError(f"unknown storage options: {', '.join(unknown)}; known are {', '.join(_OF_STORE)}")
        if store is None:
            store = SharedStore(**arguments)
        elif arguments:
            raise InvalidInputError(f"a store has its settings already: {min(arguments)} can't be given with one")
        self.store: ArtifactStore = store if session_id is None else store.session(session_id)
        self._session_id = self.store.scope.session_id
        self._made = MadeFolders()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the store, which pickles as its settings without secrets."""
        return type(self), (self.store,)

    def __repr__(self) -> str:
        """Return a text that names the store."""
        return f"<{type(self).__name__} of {self.store!r}>"

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same store and session."""
        return isinstance(other, ArtifactFileSystem) and self.store == other.store

    def __hash__(self) -> int:
        """Return a hash; equal filesystems have the same."""
        return hash(self.store)

    @property
    def _fs_token(self) -> str:
        """A token by which dask identifies the filesystem; it is the same in each process."""
        token: str = tokenize(type(self).__qualname__, repr(self.store))
        return token

    @property
    def storage_options(self) -> dict[str, Any]:
        """The arguments it was made from, without those that may hold a secret."""
        return self._options

    @storage_options.setter
    def storage_options(self, options: dict[str, Any]) -> None:
        self._options = {name: value for name, value in options.items() if name in _NOT_SECRET}
        if isinstance(provider := options.get("storage_provider"), str):
            self._options["storage_provider"] = public_url(provider)

    @classmethod
    def clear_instance_cache(cls) -> None:
        """Open new stores from now on; stores in use go on, and each closes after its last use."""
        forget_shared_cores()
