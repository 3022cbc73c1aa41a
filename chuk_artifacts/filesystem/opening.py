"""Open files."""

from __future__ import annotations

from codecs import lookup_error
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from fsspec.compression import compr
from fsspec.core import get_compression

from chuk_artifacts.arguments import check_encoding, check_text, plain
from chuk_artifacts.errors import InvalidInputError, shown
from chuk_artifacts.filesystem.files import CompressingWriter, TextWriter, Writer
from chuk_artifacts.filesystem.infos import StoreFields, taken
from chuk_artifacts.filesystem.paths import parsed
from chuk_artifacts.filesystem.reader import Reader
from chuk_artifacts.filesystem.writing import Writing, fields_of
from chuk_artifacts.operations import reading
from chuk_artifacts.source import CHUNK_SIZE

_WRITING = ("wb", "xb", "ab", "r+b", "w+b", "x+b", "a+b")

Commit = Callable[[Any, Any, StoreFields], None]
"""A function that stores data at a path, with fields of ``ArtifactStore.store``."""


class Opening(Writing):
    """Open files to read and to write."""

    def open(
        self,
        path: object,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file.

        Args:
            path: the file.
            mode: ``rb`` to read; ``wb`` to write, ``xb`` to write a file that must not exist, ``ab`` to append, ``r+b``
                to change the present bytes. What is written appears when the file is closed, and is discarded when the
                ``with`` block raises, see :class:`~chuk_artifacts.filesystem.files.Writer`. ``w+b``, ``x+b`` and
                ``a+b`` can be read too. Without the ``b`` it is a text file.
            block_size: the block size of an fsspec cache that reads through the file, in bytes; otherwise ignored.
            cache_options: ignored.
            compression: the name of a compression of fsspec, or ``infer``.
            kwargs: ``encoding``, ``errors`` and ``newline`` of a text file; ``revision`` of a file that is read, see
                :meth:`ArtifactStore.versions`; ``mime``, ``summary``, ``meta`` and ``ttl`` of a file that is written,
                see :meth:`ArtifactStore.store`.

        Returns:
            a file object. A file that is open to append adds its bytes when it is closed.

        Raises:
            ArtifactNotFoundError: there is no such file to read, or its revision is not kept.
            FileExistsError: there is a file, and the mode is ``xb``; it may also be raised when the file is closed.
            IsADirectoryError: it is a folder.
            InvalidInputError: there is no such mode, compression or encoding, or a revision is not an int above 0 or
                was passed for writing.
            ConflictError: when the file is closed: its mode is ``r+b`` or ``a+b``, and it has changed since it was
                opened.

        """
        if mode == "rb" and compression is None:
            return self._open_to_read(path, block_size, kwargs.get("revision"))
        _check_text_options(kwargs)
        mode = _canonical(mode)
        if compression is not None and (not isinstance(compression, str) or compression not in {"infer", *compr}):
            raise InvalidInputError(f"compression is not known: {shown(compression)}")
        if mode in {"r", "rb"}:
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        if "b" not in mode:
            text = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
            below = self.open(path, f"{mode}b", block_size, cache_options, compression, **kwargs)
            return _layered(below, lambda: TextWriter(below, **text))
        codec = get_compression(self._strip_protocol(path), compression and plain(compression))
        if codec is not None and "+" in mode:
            raise InvalidInputError(f"compression {codec}: a compressed file can't be read and written at once")
        writer = super().open(path, mode, block_size, cache_options, **kwargs)
        if mode == "r+b" and not kwargs.get("autocommit", not self._intrans):
            self.transaction.files.append(writer)  # fsspec takes what has an r in its mode for a reader
        if codec is None:
            return writer
        return _layered(writer, lambda: CompressingWriter(compr[codec](writer, mode=mode[0]), writer))

    def _open(
        self, path: str, mode: str = "rb", block_size: object = None, *_: object, autocommit: bool = True, **kwargs: Any
    ) -> Reader | Writer:
        if mode == "rb":
            return self._open_to_read(path, block_size, kwargs.get("revision"))
        if kwargs.get("revision") is not None:
            raise InvalidInputError("revision: only the latest revision can be written")
        if mode not in _WRITING:
            raise InvalidInputError(f"mode must be one of rb, {', '.join(_WRITING)}: {shown(mode)}")
        session, _name = self._split_file(path)
        self._check_session(session)
        return self._open_to_write(path, mode, fields_of(kwargs), autocommit=autocommit)

    def _open_to_read(self, path: object, block_size: object, revision: int | None) -> Reader:
        path, (session, name) = parsed(path)
        opened = reading.open_named(self.store.scope, session, name, revision) if name else None
        if opened is None:
            raise self._no_file(path)
        found, file = opened
        return Reader(self, path, found, file, block_size=block_size, revision=revision)

    def _open_to_write(self, path: str, mode: str, fields: StoreFields, *, autocommit: bool) -> Writer:
        session, name = self._split(path)
        offset, before = 0, None
        commit: Commit = self._write
        if mode in {"r+b", "a+b"}:
            opened = reading.open_named(self.store.scope, session, name)
            if opened is None and mode == "r+b":
                raise self._no_file(path)
            commit = self._create
            if opened is not None:
                record, file = opened[0][0], opened[1]
                commit = partial(self._revise, record)
                before = reading.chunks_of(record, file, 0, None, CHUNK_SIZE)
        elif mode not in {"wb", "w+b"}:
            found = self._find(path)
            if found and "x" in mode:
                raise taken(path)
            offset = found[0].bytes if found else 0
            commit = self._create if "x" in mode else self._append

        def written(data: BinaryIO, may_replace: bool) -> None:  # noqa: FBT001 - as Writer calls it
            if may_replace:
                commit(path, data, fields)
                return
            with suppress(FileExistsError):
                self._create(path, data, fields)

        return Writer(path, mode, written, autocommit=autocommit, offset=offset, before=before)


def _canonical(mode: Any) -> str:
    """Return a mode of ``open`` with its letters in the usual order, without the ``t``."""
    if not isinstance(mode, str):
        raise InvalidInputError(f"mode must be a str, not {type(mode).__name__}")
    letters = set(mode)
    kinds = letters & set("rwxa")
    if len(kinds) != 1 or len(letters) != len(mode) or letters - set("rwxabt+") or {"b", "t"} <= letters:
        raise InvalidInputError(f"mode must be r, w, x or a, with + or without, and b or t: {shown(mode)}")
    return kinds.pop() + "".join(letter for letter in "+b" if letter in letters)


def _layered(writer: Any, layer: Callable[[], Any]) -> Any:
    """Return a layer over a writer; discard the writer if that fails."""
    try:
        return layer()
    except BaseException:
        writer.doom()
        writer.close()
        raise


def _check_text_options(options: dict[str, Any]) -> None:
    """Raise if a text file can't be opened with these options."""
    if options.get("encoding") is not None:
        check_encoding(options["encoding"])
    if options.get("errors") is not None:
        _check_errors(options["errors"])
    newline = options.get("newline")
    if newline is not None and (not isinstance(newline, str) or newline not in {"", "\n", "\r", "\r\n"}):
        raise InvalidInputError(f"newline can't be {shown(newline)}")


def _check_errors(value: object) -> None:
    name = check_text("errors", value)
    try:
        lookup_error(name)
    except (LookupError, ValueError):
        raise InvalidInputError(f"errors is not known: {shown(name)}") from None
