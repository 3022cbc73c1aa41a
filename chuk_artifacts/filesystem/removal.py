"""Delete files."""

from __future__ import annotations

from collections.abc import Sequence

from chuk_artifacts.filesystem.lookup import Lookup
from chuk_artifacts.filesystem.transfers import several

_MANY = 1000


class Removal(Lookup):
    """Delete files."""

    def rm_file(self, path: object) -> None:
        """Delete a file."""
        self._delete(self._ids(self._strip_protocol(path), below=False))

    def rm(
        self,
        path: object,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
    ) -> None:
        """Delete files. A session stays when its last file is gone.

        Args:
            path: the file, the folder, a glob pattern, or a list of these; a path that exists is no pattern.
            recursive: whether what is below a folder is deleted.
            maxdepth: how many levels deep.

        Raises:
            ArtifactNotFoundError: a path does not exist; nothing was deleted.
            IsADirectoryError: a folder is to be deleted, and *recursive* is False; nothing was deleted then.

        """
        ids: list[str] = []
        patterns: list[str] = []
        for one in map(self._strip_protocol, several(path)):
            if maxdepth is not None or self.is_pattern(one):
                patterns.append(one)
            else:
                ids += self._ids(one, below=recursive)
        expanded = self.expand_path(patterns, recursive=recursive, maxdepth=maxdepth) if patterns else []
        for one in expanded:
            ids += self._ids(one, below=None if recursive else False)
        self._delete(ids)
        if recursive and self._made:
            self._made.remove(expanded)
            for one in map(self._strip_protocol, several(path)):
                if one not in patterns:
                    self._made.remove([one, *self._made.below(one)])

    def _delete(self, ids: Sequence[str]) -> None:
        for begin in range(0, len(ids), _MANY):
            self.store.delete_batch(ids[begin : begin + _MANY])

    def _ids(self, path: str, *, below: bool | None) -> list[str]:
        """Return the ids of the artifacts of a path, and, if *below* is set, of those below it.

        For a folder, *below* None returns an empty list, and False raises.
        """
        ids = [found.artifact_id for found in self._find(path)]
        if below:
            ids += [found.artifact_id for found in self._listed(*self._split(path))]
        if not ids and not (below is not False and self._is_folder(path)):
            raise self._no_file(path)
        return ids
