"""Write whole files, append to them, and copy them from the local disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, TypeVar

from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from chuk_artifacts.arguments import check_path
from chuk_artifacts.errors import ArtifactNotFoundError, ConflictError, InvalidInputError, shown
from chuk_artifacts.filesystem.folders import Folders
from chuk_artifacts.filesystem.infos import StoreFields, taken
from chuk_artifacts.filesystem.paths import parsed
from chuk_artifacts.filesystem.transfers import LocalFiles, Pairs, local_paths, pairs
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import changing, reading, writing
from chuk_artifacts.operations.changing import Change
from chuk_artifacts.source import Stream
from chuk_artifacts.source import source as content_of

T = TypeVar("T")

_PIECE = 1024 * 1024
_FEW_BYTES = 64 * 1024
_AT_ONCE = 500
_BYTES_AT_ONCE = 64 * 1024 * 1024
_STORE_FIELDS = ("mime", "summary", "meta", "ttl")


class Writing(Folders):
    """Write files."""

    def _write(self, path: object, data: Any, fields: StoreFields) -> None:
        """Make data the next revision of the path's artifact, or a new artifact."""
        session, name = self._split_file(path)
        content = content_of(data)
        while True:
            found = self._named(session, name)
            try:
                if found:
                    self._update(found[0], content, Change.of(self.store.scope.core, **fields))
                else:
                    self._store(path, content, fields)
            except ArtifactNotFoundError:  # deleted since
                continue
            except ConflictError:
                if found or (isinstance(content, Stream) and not content.rewindable):
                    raise
                continue  # created since
            return

    def _update(self, found: ArtifactMetadata, content: bytes | Stream | None, change: Change) -> None:
        """Change an artifact that was just found, without looking it up again."""
        changing.change(self.store.scope, found.artifact_id, change, content, record=found)

    def _revise(self, opened: ArtifactMetadata, path: object, data: Any, fields: StoreFields) -> None:
        """Make data the next revision of an artifact, unless it has changed since it was opened."""
        change = Change.of(self.store.scope.core, if_revision=opened.revision, **fields)
        self._update(opened, content_of(data), change)

    def _create(self, path: object, data: Any, fields: StoreFields) -> None:
        """Make data a new artifact, unless the path has one."""
        try:
            self._store(path, data, fields)
        except ConflictError:
            raise taken(path) from None

    def _store(self, path: object, data: Any, fields: StoreFields) -> None:
        """Make data a new artifact; raise :class:`ConflictError` if the path has one."""
        session, name = self._split_file(path)
        self.store.store(data, filename=name, session_id=session, exclusive=True, **fields)
        if self._made:
            self._made.filled(parsed(path)[0])

    def _append(self, path: object, data: BinaryIO, fields: StoreFields) -> None:
        """Append data as the next revision; try again if another writer has changed the file meanwhile."""
        while True:
            found = self._find(path)
            try:
                if found:
                    change = Change.of(self.store.scope.core, if_revision=found[0].revision, **fields)
                    self._update(found[0], self._followed_by(found[0], data), change)
                else:
                    self._create(path, data, fields)
            except (ArtifactNotFoundError, ConflictError, FileExistsError):
                continue
            return

    def _followed_by(self, artifact: ArtifactMetadata, data: BinaryIO) -> Stream:
        return Stream(lambda: chain(reading.stream_record(self.store.scope, artifact), _pieces(data)), rewindable=True)

    def _write_each(self, contents: Mapping[str, bytes | Stream], fields: StoreFields) -> None:
        """Write whole files by their paths; store new ones with one call of the catalog."""
        new: dict[str, list[str]] = {}
        for path, found in zip(contents, self._find_each(list(contents)), strict=True):
            if found:
                self._write_found(path, found[0], contents[path], fields)
            else:
                new.setdefault(self._split_file(path)[0], []).append(path)
        for session, paths in new.items():
            items = [{"data": contents[path], "filename": self._split(path)[1], **fields} for path in paths]
            try:
                writing.store_batch(self.store.scope, items, session, exclusive=True)
            except ConflictError:  # one was created since
                for path in paths:
                    self._write(path, contents[path], fields)
            if self._made:
                for path in paths:
                    self._made.filled(path)

    def _write_found(self, path: str, found: ArtifactMetadata, data: bytes | Stream, fields: StoreFields) -> None:
        try:
            self._update(found, data, Change.of(self.store.scope.core, **fields))
        except ArtifactNotFoundError:  # deleted since
            self._write(path, data, fields)

    def pipe(self, path: object, value: object = None, **kwargs: Any) -> None:
        """Write a whole file, or the files of a mapping of bytes by paths; see :meth:`pipe_file`.

        The files of a mapping are written in portions. When one can't be written, the earlier portions stay.
        """
        if not isinstance(path, dict):
            super().pipe(parsed(path)[0], value, **kwargs)
        elif self._intrans or kwargs.get("mode", "overwrite") != "overwrite":
            super().pipe(path, value, **kwargs)
        else:
            contents = {parsed(one)[0]: content_of(data) for one, data in path.items()}
            for some in _portions(list(contents), lambda one: _length(contents[one])):
                self._write_each({one: contents[one] for one in some}, fields_of(kwargs))

    def write_text(
        self,
        path: object,
        value: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **kwargs: Any,
    ) -> int:
        """Write a text, and return how many characters it has; see :meth:`open`."""
        if not isinstance(value, str):
            raise InvalidInputError(f"value must be a str, not {type(value).__name__}")
        try:
            return int(super().write_text(path, value, encoding, errors, newline, **kwargs))
        except UnicodeError:
            raise InvalidInputError(f"value: {shown(encoding or 'utf-8')} can't hold it") from None

    def pipe_file(self, path: object, value: object, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a whole file.

        Args:
            path: the file.
            value: its bytes.
            mode: ``overwrite``, or ``create`` for a file that must not exist.
            kwargs: ``mime``, ``summary``, ``meta`` and ``ttl``, see :meth:`ArtifactStore.store`.

        Raises:
            FileExistsError: there is a file, and the mode is ``create``.
            IsADirectoryError: the path is that of a session.

        """
        if self._intrans:
            with self.open(path, "xb" if mode == "create" else "wb", **kwargs) as file:
                file.write(value)
            return
        self._writing(path, mode)(path, value, fields_of(kwargs) if kwargs else kwargs)

    def _writing(self, path: object, mode: str) -> Callable[[Any, Any, dict[str, Any]], None]:
        """Return the method that writes a whole file in a mode; raise if the file must not exist, and does."""
        if mode != "create":
            return self._write
        if self._find(path):
            raise taken(path)
        return self._create

    def put_file(
        self,
        lpath: object,
        rpath: object,
        callback: Callback = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        """Copy a file from the local disk.

        Args:
            lpath: the local path; a folder does nothing.
            rpath: the file.
            callback: an fsspec ``Callback``; it gets the size and the length of each chunk in bytes.
            mode: see :meth:`pipe_file`.
            kwargs: see :meth:`pipe_file`.

        """
        lpath = check_path("lpath", lpath)
        if os.path.isdir(lpath):
            self.mkdir(rpath)
        elif self._intrans:
            super().put_file(lpath, rpath, callback=callback, mode=mode, **kwargs)
        else:
            self._writing(rpath, mode)(rpath, _local_content(lpath, callback), fields_of(kwargs))

    def put(
        self,
        lpath: object,
        rpath: object,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files from the local disk.

        Args:
            lpath: the local file, folder, a glob pattern, or a list of these.
            rpath: the path, or, when there is a folder or it ends with a slash, where that is in; or a list.
            recursive: whether what is below a folder is copied as well.
            callback: an fsspec ``Callback``; it gets the number of files, and a branch for each file.
            maxdepth: how many levels deep.
            kwargs: see :meth:`put_file`.

        Raises:
            FileNotFoundError: the path does not exist.
            InvalidInputError: two files would become one.

        """
        found = pairs(LocalFiles(), local_paths(lpath), self, rpath, recursive=recursive, maxdepth=maxdepth)
        if self._intrans or kwargs.get("mode", "overwrite") != "overwrite":
            super().put([path for path, _ in found], [path for _, path in found], callback=callback, **kwargs)
            return
        callback.set_size(len(found))
        for some in _portions(found, lambda pair: os.path.getsize(pair[0])):
            self._put_each(some, callback, fields_of(kwargs))
            callback.relative_update(len(some))

    def _put_each(self, found: Pairs, callback: Callback, fields: StoreFields) -> None:
        """Copy files from the local disk; make the folders among them."""
        contents: dict[str, bytes | Stream] = {}
        with ExitStack() as stack:
            for source, target in found:
                child = stack.enter_context(callback.branched(source, target))
                if os.path.isdir(source):
                    self.mkdir(target)
                else:
                    contents[target] = _local_content(source, child)
            self._write_each(contents, fields)

    def touch(self, path: object, truncate: bool = True, **kwargs: Any) -> None:  # noqa: FBT001, FBT002 - fsspec's
        """Empty a file, or with *truncate* False only set its modification time; create a missing file."""
        found = [] if truncate else self._find(path)
        if found:
            self._update(found[0], None, Change(fields={"mime": found[0].mime}))
        else:
            self.pipe_file(path, b"", **kwargs)


def _portions(items: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield items in portions that one transaction can add, limited by number and by bytes."""
    portion: list[T] = []
    length = 0
    for item in items:
        portion.append(item)
        length += size(item)
        if len(portion) == _AT_ONCE or length >= _BYTES_AT_ONCE:
            yield portion
            portion, length = [], 0
    if portion:
        yield portion


def _length(data: bytes | Stream) -> int:
    return len(data) if isinstance(data, bytes) else data.measure() or 0


def _local_content(path: str, callback: Callback) -> bytes | Stream:
    """Return the content of a local file: its bytes if they are few, or else a stream."""
    size = os.path.getsize(path)
    callback.set_size(size)
    if size > _FEW_BYTES:
        return Stream(partial(_reported_pieces, path, callback), rewindable=True)
    with open(path, "rb") as file:
        data = file.read()
    callback.relative_update(len(data))
    return data


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


def _reported_pieces(path: str, callback: Callback) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for piece in _pieces(file):
            yield piece
            callback.relative_update(len(piece))


def fields_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a store takes; callers of fsspec pass others as well."""
    return {name: arguments[name] for name in _STORE_FIELDS if arguments.get(name) is not None}
