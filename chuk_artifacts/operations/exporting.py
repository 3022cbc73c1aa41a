"""Writing an export of a catalog: see :mod:`~chuk_artifacts.operations.catalog_file`."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from chuk_artifacts import arguments
from chuk_artifacts.errors import InvalidInputError, SessionError, shown
from chuk_artifacts.log import log as _log
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.catalog_file import Counts, header, last_line, line_of
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.walking import all_sessions, pages_of

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

GZIP_NAME = ".gz"
"""What the name of a file that is written or read as gzip ends with."""
_LEVEL = 6  # of gzip, from 1 to 9; 9, the default of Python, takes three times as long, and saves 2 %
_PRIVATE_FILE = 0o600


class Writable(Protocol):
    """A binary file object, or anything else that is written like one."""

    def write(self, data: bytes, /) -> object:
        """Write all of *data*."""
        ...


@operation
def export_catalog(scope: Scope, target: str | os.PathLike[str] | Writable, callback: Callback | None) -> int:
    """Write all sessions and records to a file; see :meth:`ArtifactStore.export_catalog`."""
    core = scope.unbound_core("export_catalog")
    opened = _replacing(arguments.check_path("target", target)) if _is_path(target) else _given(target)
    damaged = core.catalog.verify()
    if callback is not None:
        callback.set_size(core.catalog.usage(None).artifacts)
    with opened as file:
        count = _write(scope, file, callback)
    _log.debug("export_catalog %s", count)
    if damaged:
        raise SessionError(f"{damaged} records are damaged, and are not in the export, which is complete otherwise")
    return count


def _write(scope: Scope, file: Writable, callback: Callback | None) -> int:
    core = scope.core
    now = core.clock()
    sessions = artifacts = 0
    lines = [header(core)]
    for info in all_sessions(scope):
        sessions += 1
        lines.append(line_of(info))
        for page in pages_of(scope, info.session_id, now):
            found = [line_of(record) for record in page if not record.released]
            artifacts += len(found)
            lines += found
            if callback is not None:
                callback.relative_update(len(found))
            lines = _flushed(file, lines)
        if len(lines) > _MOST_LINES:
            lines = _flushed(file, lines)
    _flushed(file, [*lines, last_line(Counts(sessions, artifacts))])
    return artifacts


_MOST_LINES = 100


def _flushed(file: Writable, lines: list[str]) -> list[str]:
    """Write lines, and return an empty list."""
    file.write("".join(f"{line}\n" for line in lines).encode())
    return []


def _is_path(target: object) -> bool:
    return isinstance(target, (str, os.PathLike))


@contextlib.contextmanager
def _given(file: Any) -> Iterator[Writable]:
    """Check a file object, and leave it open."""
    write = getattr(file, "write", None)
    if write is None:
        raise InvalidInputError(f"target must be a path or a binary file, not {type(file).__name__}")
    if isinstance(file, io.TextIOBase):
        raise InvalidInputError("target is a text file: open it in binary mode ('wb')")
    if inspect.iscoroutinefunction(write):
        raise InvalidInputError("target must be awaited: hand over its blocking file, or a path")
    if getattr(file, "closed", False) is True:
        raise InvalidInputError("target is a closed file")
    yield file


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[Writable]:
    """Write a file beside *path*, readable only by its owner, and give it that name when it is complete."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        raise InvalidInputError(f"target: the folder {shown(folder)} does not exist")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise InvalidInputError(f"target: {shown(path)} is not a file")
    part = os.path.join(folder, f".{os.urandom(8).hex()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "wb") as file:
            if name.endswith(GZIP_NAME):
                import gzip  # noqa: PLC0415 - few programs export

                with gzip.GzipFile("", "wb", _LEVEL, file) as packed:
                    yield packed
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
