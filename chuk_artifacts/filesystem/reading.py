"""Read files whole or in part, and copy them to the local disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from chuk_artifacts.arguments import check_count, check_items, check_path
from chuk_artifacts.catalog import batches
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.filesystem.lookup import Lookup
from chuk_artifacts.filesystem.paths import parsed
from chuk_artifacts.filesystem.ranges import Range, bound, read_ranges
from chuk_artifacts.filesystem.transfers import LocalFiles, local_paths, pairs
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import reading

_AT_ONCE = 1000  # files that are looked up together


class Reading(Lookup):
    """Read files whole or in part."""

    def cat_file(
        self,
        path: object,
        start: int | None = None,
        end: int | None = None,
        *,
        revision: int | None = None,
        **_: object,
    ) -> bytes:
        """Return the bytes of a file, verified, or a range of them.

        Args:
            path: the file.
            start: the first byte; negative: from the end.
            end: the byte after the last; negative: from the end.
            revision: the revision that is read, see :meth:`ArtifactStore.versions`; None: the latest.

        Returns:
            the bytes.

        Raises:
            ArtifactNotFoundError: there is no such file, or its revision is not kept.
            IsADirectoryError: it is a folder.
            InvalidInputError: *revision* is not an int above 0.
            ArtifactCorruptedError: the stored bytes are not those that were stored.

        """
        if start is not None or end is not None:
            start, end = bound("start", start), bound("end", end)
        session, name = parsed(path)[1]
        data = reading.named_content(self.store.scope, session, name, start, end, revision=revision) if name else None
        if data is None:
            raise self._no_file(path)
        return data

    def cat_ranges(
        self,
        paths: Sequence[Any],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        *,
        revision: int | None = None,
        **_: object,
    ) -> list[Any]:
        """Return ranges of bytes of files, read in parallel where the storage is remote.

        Each file is looked up once, however many of its ranges are requested.

        Args:
            paths: the file of each range.
            starts: the first byte of each, or one for all; None: 0.
            ends: the byte after the last of each, or one for all; None: the end.
            max_gap: not supported.
            on_error: ``return`` returns an exception in place of the bytes of a range; otherwise the first exception is
                raised.
            revision: the revision of each file that is read; None: the latest.

        Returns:
            the bytes of each range.

        Raises:
            NotImplementedError: *max_gap* is given.
            InvalidInputError: *paths* is no list, there are not as many starts or ends as paths, or *revision* is not
                an int above 0.

        """
        if max_gap is not None:
            raise NotImplementedError("max_gap")
        if not isinstance(paths, list):
            raise InvalidInputError(f"paths must be a list, not {type(paths).__name__}")
        starts, ends = (given if isinstance(given, list) else [given] * len(paths) for given in (starts, ends))
        if not len(starts) == len(ends) == len(paths):
            raise InvalidInputError("paths, starts and ends must be of one length")
        wanted: dict[str, list[Range]] = {}
        for index, path in enumerate(paths):
            one = Range(index, bound("start", starts[index]), bound("end", ends[index]))
            wanted.setdefault(self._strip_protocol(path), []).append(one)
        revision = _checked(revision)
        scope = self.store.scope
        outcomes = read_ranges(
            scope,
            wanted,
            lambda path: reading.at_revision(scope, self._file(path), revision),
            exact=revision is not None,
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors and on_error != "return":
            raise errors[0]
        return outcomes

    def head(self, path: object, size: int = 1024) -> bytes:
        """Return at most *size* bytes from the start of a file."""
        return bytes(super().head(path, check_count("size", size, -1)))

    def tail(self, path: object, size: int = 1024) -> bytes:
        """Return at most *size* bytes from the end of a file."""
        return bytes(super().tail(path, check_count("size", size, 0)))

    def read_block(self, fn: Any, offset: int, length: int | None, delimiter: bytes | None = None) -> bytes:
        """Return a block of a file, from one delimiter to another if that is given; see fsspec."""
        if length is not None:
            length = check_count("length", length, 0)
        if delimiter is not None and not isinstance(delimiter, bytes):
            raise InvalidInputError(f"delimiter must be bytes, not {type(delimiter).__name__}")
        return bytes(super().read_block(fn, check_count("offset", offset, 0), length, delimiter))

    def sizes(self, paths: Any) -> list[int]:
        """Return the length in bytes of each file."""
        return [self.size(path) for path in check_items("paths", paths)]

    def get_file(
        self,
        rpath: object,
        lpath: object = None,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: Any = None,
        *,
        revision: int | None = None,
        **_: object,
    ) -> None:
        """Copy a file to the local disk, where it appears whole and verified, or not at all.

        Args:
            rpath: the file; a folder makes a folder.
            lpath: the local file, which is replaced, and whose folders are made; a folder that is there, where the file
                gets the last segment of *rpath* as its name and replaces nothing; or an open file.
            callback: an fsspec ``Callback``, which is given the size and the length of each chunk in bytes.
            outfile: an open file to write to, and not to *lpath*.
            revision: the revision that is copied, see :meth:`ArtifactStore.versions`; None: the latest.

        Raises:
            ArtifactNotFoundError: *rpath* does not exist, or its revision is not kept.
            FileExistsError: *lpath* is a folder, and something in it has that name.
            InvalidInputError: *revision* is not an int above 0.

        """
        revision = _checked(revision)
        self._get_found(self._find(rpath), rpath, lpath, callback, outfile, revision=revision)

    def _get_found(
        self,
        found: Sequence[ArtifactMetadata],
        rpath: object,
        lpath: Any,
        callback: Callback,
        outfile: Any = None,
        *,
        revision: int | None = None,
    ) -> None:
        """Copy a file to the local disk, given the artifacts of its path; see :meth:`get_file`."""
        if outfile is None and hasattr(lpath, "write"):
            outfile = lpath
        lpath = check_path("lpath", lpath) if outfile is None else None
        if not found and outfile is None and self._is_folder(rpath):
            os.makedirs(lpath, exist_ok=True)
            return
        if not found:
            raise self._no_file(rpath)
        scope, exact = self.store.scope, revision is not None
        record = reading.at_revision(scope, found[0], revision)
        if outfile is None:
            os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
            reading.download_record(scope, record, lpath, callback, exact=exact)
        else:
            callback.set_size(record.bytes)
            for piece in reading.stream_record(scope, record, exact=exact):
                outfile.write(piece)
                callback.relative_update(len(piece))

    def get(
        self,
        rpath: object,
        lpath: object,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        *,
        revision: int | None = None,
        **_: Any,
    ) -> None:
        """Copy files to the local disk.

        Args:
            rpath: the file, the folder, a glob pattern, or a list of these.
            lpath: the local path, or, when there is a folder or it ends with a slash, where that is in; or a list.
            recursive: whether what is below a folder is copied as well.
            callback: an fsspec ``Callback``; it gets the number of files, and a branch for each file.
            maxdepth: how many levels deep.
            revision: the revision of each file that is copied; None: the latest.

        Raises:
            ArtifactNotFoundError: the path does not exist, or the revision of a file is not kept.
            InvalidInputError: two files would become one, or *revision* is not an int above 0.

        """
        revision = _checked(revision)
        found = pairs(self, rpath, LocalFiles(), local_paths(lpath), recursive=recursive, maxdepth=maxdepth)
        callback.set_size(len(found))
        for some in batches(found, _AT_ONCE):
            artifacts = self._find_each([source for source, _ in some])
            for (source, target), of_source in zip(some, artifacts, strict=True):
                with callback.branched(source, target) as child:
                    self._get_found(of_source, source, target, child, revision=revision)
                callback.relative_update()


def _checked(revision: Any) -> int | None:
    """Return a revision as a plain int, or None; raise :class:`InvalidInputError` if it is not an int above 0."""
    return None if revision is None else check_count("revision", revision, 1)
