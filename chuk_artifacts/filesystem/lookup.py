"""Look up paths: the artifacts that a path leads to, folders, and the infos of both."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from chuk_artifacts.arguments import check_text
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.filesystem.base import FileSystem
from chuk_artifacts.filesystem.infos import Info, file_info, folder_info, missing
from chuk_artifacts.filesystem.made import MadeFolders
from chuk_artifacts.filesystem.paths import parsed
from chuk_artifacts.filesystem.transfers import LiteralPaths
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import finding, listing
from chuk_artifacts.operations.history import version_fields
from chuk_artifacts.store import ArtifactStore


class Lookup(LiteralPaths, FileSystem):
    """Find the artifacts and folders of paths.

    Attributes:
        store: the store, bound to a session if the filesystem is.

    """

    store: ArtifactStore
    _session_id: str | None
    _made: MadeFolders

    @classmethod
    def _strip_protocol(cls, path: object) -> Any:
        """Return the path of a URL, with the session's segment in its canonical form."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return parsed(path)[0]

    @staticmethod
    def _split(path: object) -> tuple[str, str]:
        """Return session and filename of a path; of a session's own path the filename is empty."""
        return parsed(path)[1]

    def _split_file(self, path: object) -> tuple[str, str]:
        """Return session and filename of a path that a file can have."""
        session, name = self._split(path)
        if not name:
            raise IsADirectoryError(errno.EISDIR, "a session is a folder", path)
        return session, name

    def _check_session(self, session: str) -> None:
        """Raise if this filesystem can't reach the session."""
        scope = self.store.scope
        scope.check_open()
        scope.session(session)

    def _find(self, path: object) -> list[ArtifactMetadata]:
        """Return the artifacts of a path, the newest first; an empty list if there is no file."""
        session, name = parsed(path)[1]
        return finding.named(self.store.scope, session, name) if name else []

    def _named(self, session: str, name: str) -> list[ArtifactMetadata]:
        """Return the artifacts of a session that a path with that name leads to, the newest first."""
        return finding.named(self.store.scope, session, name)

    def _find_each(self, paths: Sequence[str]) -> list[list[ArtifactMetadata]]:
        """Do what :meth:`_find` does for many paths, with one call of the catalog for each portion."""
        names: dict[str, list[str]] = {}
        for path in paths:
            session, name = parsed(path)[1]
            if name:
                names.setdefault(session, []).append(name)
        found = {
            session: dict(zip(some, finding.named_each(self.store.scope, session, some), strict=True))
            for session, some in names.items()
        }
        return [found[session][name] if name else [] for session, name in (parsed(path)[1] for path in paths)]

    def _files(self, path: object) -> list[ArtifactMetadata]:
        """Return the artifacts of a path, the newest first, or raise."""
        found = self._find(path)
        if not found:
            raise self._no_file(path)
        return found

    def _file(self, path: object) -> ArtifactMetadata:
        """Return the newest artifact of a path, or raise."""
        return self._files(path)[0]

    def _no_file(self, path: object) -> OSError:
        if self._is_folder(path):
            return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return missing(path)

    def _is_folder(self, path: object) -> bool:
        path, (session, name) = parsed(path)
        if not session or path in self._made:
            return True
        if name:
            return any(self._listed(session, name, page_size=1))
        try:
            return self.store.validate_session(session)
        except InvalidInputError:  # no session can be called that
            return False

    def _listed(self, session: str, folder: str, **options: Any) -> Iterator[ArtifactMetadata]:
        """Iterate over the artifacts below a folder; yield none for a path that no folder can have."""
        try:
            prefix = check_text("prefix", f"{folder}/" if folder else "")
            return listing.pages(self.store.scope, session, prefix=prefix, **options)
        except InvalidInputError:
            return iter(())

    def info(self, path: object, **_: object) -> Info:
        """Return the info of a path.

        Args:
            path: the path.

        Returns:
            ``name``, ``type`` (``file`` or ``directory``) and ``size`` in bytes; of a file also ``created`` and
            ``modified`` (datetimes in UTC), ``mtime`` (seconds since the epoch), ``artifact_id``, ``mime``, ``sha256``,
            ``revision``, ``others``: how many older artifacts have the same filename, and ``versions``, which listings
            leave out: see :meth:`ArtifactStore.versions`; each is a dict.

        Raises:
            ArtifactNotFoundError: there is neither a file nor a folder.

        """
        path, (session, name) = parsed(path)
        found = self._named(session, name) if name else []
        if found:
            info = file_info(path, found)
            info["versions"] = version_fields(found[0], self.store.scope.core.clock())
            return info
        if self._is_folder(path):
            return folder_info(path)
        raise missing(path)

    def exists(self, path: object, **_: object) -> bool:
        """Return whether there is a file or a folder; an outage raises."""
        return self.isfile(path) or self._is_folder(path)

    def isfile(self, path: object) -> bool:
        """Return whether there is a file; an outage raises."""
        session, name = parsed(path)[1]
        return bool(name) and finding.is_named(self.store.scope, session, name)

    def isdir(self, path: object) -> bool:
        """Return whether there is a folder and no file; an outage raises."""
        return not self.isfile(path) and self._is_folder(path)

    def created(self, path: object) -> datetime:
        """Return when the file was first stored, in UTC."""
        return datetime.fromisoformat(self._file(path).stored_at)

    def modified(self, path: object) -> datetime:
        """Return when the file was last changed, in UTC."""
        return datetime.fromisoformat(self._file(path).updated_at)

    def checksum(self, path: object) -> int:
        """Return the SHA-256 of a file's bytes as a number."""
        return int(self._file(path).sha256, 16)

    def ukey(self, path: object) -> str:
        """Return a text that changes when the path is another artifact or its bytes change."""
        found = self._file(path)
        return sha256(f"{found.artifact_id} {found.sha256}".encode()).hexdigest()

    def sign(self, path: object, expiration: float = 100, **_: object) -> str:
        """Return a URL to download a file; see :meth:`ArtifactStore.presign`.

        Args:
            path: the file.
            expiration: for how many seconds it works.

        Returns:
            the URL.

        """
        return self.store.presign(self._file(path).artifact_id, expiration)
