"""Open files."""

from __future__ import annotations

from codecs import lookup_error
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from fsspec.compression import compr
from fsspec.core import get_compression

from chuk_artifacts.arguments import check_encoding, check_text, plain
from chuk_artifacts.errors import InvalidInputError, shown
from chuk_artifacts.filesystem.files import CompressingWriter, Reader, TextWriter, Writer
from chuk_artifacts.filesystem.infos import file_info, taken
from chuk_artifacts.filesystem.paths import parsed
from chuk_artifacts.filesystem.writing import Writing, fields_of
from chuk_artifacts.operations import reading


class Opening(Writing):
    """Open files to read and to write."""

    def open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file.

        Args:
            path: the file.
            mode: ``rb`` to read; ``wb`` to write, ``xb`` to write what must not exist, ``ab`` to append, all of which
                appears when the file is closed, and is discarded when the ``with`` block raises, see
                :class:`~chuk_artifacts.filesystem.files.Writer`. Without the ``b`` it is a text file.
            block_size: ignored, as is *cache_options*: what is read is fetched.
            cache_options: see *block_size*.
            compression: the name of a compression of fsspec, or ``infer``.
            kwargs: ``encoding``, ``errors`` and ``newline`` of a text file; ``mime``, ``summary``, ``meta`` and ``ttl``
                of a file that is written, see :meth:`ArtifactStore.store`.

        Returns:
            a file object. One to append to writes behind what is there when it is closed.

        Raises:
            ArtifactNotFoundError: there is no such file to read.
            FileExistsError: there is a file, and the mode is ``xb``; it may also be raised when the file is closed.
            IsADirectoryError: it is a folder.
            InvalidInputError: there is no such mode, compression or encoding.

        """
        _check_text_options(kwargs)
        if not isinstance(mode, str):
            raise InvalidInputError(f"mode must be a str, not {type(mode).__name__}")
        if compression is not None and (not isinstance(compression, str) or compression not in {"infer", *compr}):
            raise InvalidInputError(f"compression is not known: {shown(compression)}")
        if "r" in mode:
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        if "b" not in mode:
            text = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
            binary = f"{mode.replace('t', '')}b"
            below = self.open(path, binary, block_size, cache_options, compression, **kwargs)
            return _layered(below, lambda: TextWriter(below, **text))
        codec = get_compression(self._strip_protocol(path), compression and plain(compression))
        writer = super().open(path, mode, block_size, cache_options, **kwargs)
        if codec is None:
            return writer
        return _layered(writer, lambda: CompressingWriter(compr[codec](writer, mode=mode[0]), writer))

    def _open(self, path: str, mode: str = "rb", *_: Any, autocommit: bool = True, **kwargs: Any) -> Reader | Writer:
        if mode == "rb":
            return self._open_to_read(path)
        fields = fields_of(kwargs)
        session, _name = self._split_file(path)
        self._check_session(session)
        if mode not in {"wb", "xb", "ab"}:
            raise InvalidInputError(f"mode must be one of rb, wb, xb, ab: {shown(mode)}")
        found = [] if mode == "wb" else self._find(path)
        if mode == "xb" and found:
            raise taken(path)
        offset = found[0].bytes if found else 0
        commit = {"wb": self._write, "xb": self._create, "ab": self._append}[mode]

        def written(data: BinaryIO, may_replace: bool) -> None:  # noqa: FBT001 - as Writer calls it
            if may_replace:
                commit(path, data, fields)
                return
            with suppress(FileExistsError):
                self._create(path, data, fields)

        return Writer(path, mode, written, autocommit=autocommit, offset=offset)

    def _open_to_read(self, path: Any) -> Reader:
        path, (session, name) = parsed(path)
        opened = reading.open_named(self.store.scope, session, name) if name else None
        if opened is None:
            raise self._no_file(path)
        found, file = opened
        return Reader(self, file_info(path, found), file)


def _layered(writer: Any, layer: Callable[[], Any]) -> Any:
    """Return a layer over a writer, which is discarded when there can be none."""
    try:
        return layer()
    except BaseException:
        writer.doom()
        writer.close()
        raise


def _check_text_options(options: dict[str, Any]) -> None:
    """Refuse what no text file can be opened with."""
    if options.get("encoding") is not None:
        check_encoding(options["encoding"])
    if options.get("errors") is not None:
        _check_errors(options["errors"])
    newline = options.get("newline")
    if newline is not None and (not isinstance(newline, str) or newline not in {"", "\n", "\r", "\r\n"}):
        raise InvalidInputError(f"newline can't be {shown(newline)}")


def _check_errors(value: Any) -> None:
    name = check_text("errors", value)
    try:
        lookup_error(name)
    except (LookupError, ValueError):
        raise InvalidInputError(f"errors is not known: {shown(name)}") from None
