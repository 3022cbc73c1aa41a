"""Copy and rename files within their session."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from chuk_artifacts.errors import AccessDeniedError, shown
from chuk_artifacts.filesystem.infos import missing
from chuk_artifacts.filesystem.removal import Removal
from chuk_artifacts.filesystem.transfers import (
    Pairs,
    Transfer,
    check_depth,
    check_moves,
    ends_with_slash,
    in_safe_order,
    is_list,
    pairs,
)
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import changing, reading
from chuk_artifacts.operations.changing import Change
from chuk_artifacts.source import Stream


class Moving(Removal):
    """Copy and rename files."""

    def _transfers(self, found: Pairs, *, missing_ok: bool = False) -> list[Transfer]:
        """Look up the files among paths that are copied or moved, all of them before one changes."""
        for source, target in found:
            self._check_same_session(source, target)
        found = [(source, target) for source, target in dict.fromkeys(found) if source != target]
        paths = [path for pair in found for path in pair]
        artifacts = iter(self._find_each(paths))
        transfers: list[Transfer] = []
        for (source, target), of_source, of_target in zip(found, artifacts, artifacts, strict=True):
            if of_source:
                _session, name = self._split_file(target)
                transfers.append(Transfer(source, target, name, of_source, of_target))
            elif not missing_ok and not self._is_folder(source):
                raise missing(source)
        return transfers

    def _transfer(self, source: str, found: Sequence[ArtifactMetadata], given: Any, target: Any) -> list[Transfer]:
        """Look up where one file is copied or moved, by the rules of :func:`~transfers.pairs`.

        Args:
            source: the path of the file.
            found: its artifacts.
            given: the same path, as the caller wrote it.
            target: the new path, as the caller wrote it.

        Returns:
            the transfer, or nothing where the file is there already.

        """
        path = self._strip_protocol(target)
        self._check_same_session(source, path)
        into = ends_with_slash(target)
        replaced = [] if into else self._find(path)
        if into or (not replaced and self._is_folder(path)):
            path = path if ends_with_slash(given) else f"{path}/{source.rpartition('/')[2]}"
            replaced = self._find(path)
        return [] if path == source else [Transfer(source, path, self._split_file(path)[1], found, replaced)]

    def _check_same_session(self, source: str, target: str) -> None:
        if self._split(source)[0] != self._split(target)[0]:
            raise AccessDeniedError(f"a file can't leave its session: {shown(source)}")

    def cp_file(self, path1: object, path2: object, **_: object) -> None:
        """Copy a file within its session; bytes are copied inside the storage.

        Onto a file they pass through the process, to become that one's next revision.

        Args:
            path1: the file; a folder does nothing.
            path2: the path of the copy.

        Raises:
            AccessDeniedError: the paths are of two sessions.
            ArtifactNotFoundError: *path1* does not exist.

        """
        self._copy(self._transfers([(self._strip_protocol(path1), self._strip_protocol(path2))]))

    def copy(
        self,
        path1: object,
        path2: object,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        on_error: str | None = None,
        **_: object,
    ) -> None:
        """Copy files within their session, as they are before the first copy: see :meth:`cp_file`.

        Args:
            path1: the file, the folder, a glob pattern, or a list of these.
            path2: the path of the copy, or, when there is a folder or it ends with a slash, where that is in; or a
                list.
            recursive: whether what is below a folder is copied as well.
            maxdepth: how many levels deep.
            on_error: ``ignore``, the default when *recursive*, leaves out what is missing; otherwise ``raise``.

        Raises:
            AccessDeniedError: the paths are of two sessions.
            ArtifactNotFoundError: *path1* does not exist.
            InvalidInputError: two files would become one; nothing was copied then.

        """
        found = pairs(self, path1, self, path2, recursive=recursive, maxdepth=maxdepth)
        missing_ok = recursive if on_error is None else on_error != "raise"
        self._copy(self._transfers(found, missing_ok=missing_ok))
        for source, target in found:
            if recursive and source in self._made:
                self._made.add(target)

    def _copy(self, transfers: Sequence[Transfer]) -> None:
        """Copy to free paths first; copies onto other files read their sources by the old records."""
        new = [(transfer.found[0], transfer.name) for transfer in transfers if not transfer.replaced]
        if len(new) == 1:
            (found, name), scope = new[0], self.store.scope
            changing.copy(scope, found.artifact_id, Change.of(scope.core, filename=name), record=found)
        else:
            changing.copy_all(self.store.scope, new)
        for transfer in transfers:
            if transfer.replaced:
                self._copy_onto(transfer.found[0], transfer.replaced[0])
        self._fill(transfers)

    def _copy_onto(self, artifact: ArtifactMetadata, replaced: ArtifactMetadata) -> None:
        content = Stream(partial(reading.stream_record, self.store.scope, artifact), rewindable=True)
        fields = {"mime": artifact.mime, "summary": artifact.summary, "meta": artifact.meta}
        changing.change(self.store.scope, replaced.artifact_id, Change(fields=fields), content, record=replaced)

    def _fill(self, transfers: Sequence[Transfer]) -> None:
        """Forget the made folders that now hold files."""
        if self._made:
            for transfer in transfers:
                self._made.filled(transfer.target)

    def mv_file(self, path1: object, path2: object) -> None:
        """Rename a file within its session; see :meth:`mv`."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        found = self._files(source)
        self._check_same_session(source, target)
        if source != target:
            self._move([Transfer(source, target, self._split_file(target)[1], found, self._find(target))])

    def mv(
        self,
        path1: object,
        path2: object,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        **_: object,
    ) -> None:
        """Rename files within their session: only their records change.

        What is at a new path is replaced. Files may change places. A path moved onto itself stays as it is.

        Args:
            path1: the file, the folder, a glob pattern, or a list of these.
            path2: the new path, or, when there is a folder or it ends with a slash, where the new path is in; or a
                list.
            recursive: whether what is below a folder is renamed as well.
            maxdepth: how many levels deep.

        Raises:
            AccessDeniedError: the paths are of two sessions.
            ArtifactNotFoundError: *path1* does not exist.
            InvalidInputError: a folder would move into itself, two files would become one, or one file two; nothing was
                moved then.
            IsADirectoryError: there is a folder, and *recursive* is False; nothing was moved then.

        """
        maxdepth = check_depth(maxdepth)
        if not is_list(path1) and not is_list(path2):
            source = self._strip_protocol(path1)
            same = source == self._strip_protocol(path2)
            if not recursive and not self.is_pattern(source):
                artifacts = self._files(source)
                self._move([] if same else self._transfer(source, artifacts, path1, path2))
                return
            if same and self.exists(source):
                return
        found = pairs(self, path1, self, path2, recursive=recursive, maxdepth=maxdepth)
        transfers = self._transfers(found)
        files = {transfer.source for transfer in transfers}
        check_moves(found, files)
        if is_list(path1) and not recursive:
            for source, target in found:
                if source != target and source not in files:
                    raise self._no_file(source)
        self._move(transfers)
        for source, target in found:
            if source in self._made and source != target:
                self._made.move(source, target)

    def _move(self, transfers: Sequence[Transfer]) -> None:
        """Rename all, then delete the files they replace, so that an interruption loses nothing."""
        moved = {artifact.artifact_id for transfer in transfers for artifact in transfer.found}
        changing.rename_all(
            self.store.scope,
            [
                (artifact, transfer.name)
                for transfer in in_safe_order(transfers)
                for artifact in reversed(transfer.found)
            ],
        )
        self._fill(transfers)
        replaced = [artifact.artifact_id for transfer in transfers for artifact in transfer.replaced]
        self._delete([artifact_id for artifact_id in replaced if artifact_id not in moved])
