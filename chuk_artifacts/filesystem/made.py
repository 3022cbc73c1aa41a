"""Folders that were made and hold no file yet.

A store has no folders: they are the beginnings of filenames. Programs that make a folder and then look whether it is
there (DuckDB's ``PARTITION_BY``) need it to be remembered until a file is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from posixpath import dirname


class MadeFolders:
    """The paths of folders that a filesystem has made, with those above them; several threads may use it.

    Paths are in the form of :func:`~chuk_artifacts.filesystem.paths.parsed`.
    """

    def __init__(self) -> None:
        """Begin without folders."""
        self._paths: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Return whether any folder is remembered."""
        return bool(self._paths)

    def __contains__(self, path: str) -> bool:
        """Return whether the folder was made."""
        return path in self._paths

    def add(self, path: str) -> None:
        """Remember a folder and those above it."""
        for one in reversed([path, *_above(path)]):
            self._paths[one] = None

    def filled(self, path: str) -> None:
        """Forget the folders that hold the file at *path*: they are there as long as a file is in them."""
        self.remove(_above(path))

    def remove(self, paths: Iterable[str]) -> None:
        """Forget folders."""
        for one in paths:
            self._paths.pop(one, None)

    def below(self, path: str) -> list[str]:
        """Return the folders below a folder, in any depth."""
        return [one for one in list(self._paths) if one.startswith(f"{path}/")]

    def inside(self, path: str) -> list[str]:
        """Return the folders directly in a folder."""
        return [
            one for one in self.below(path) if "/" not in one[len(path) + 2 :]
        ]  # as operations.listing.inner_folder has it

    def move(self, source: str, target: str) -> None:
        """Give a folder, and those below it, another path."""
        moved = [path for path in (source, *self.below(source)) if path in self._paths]
        self.remove(moved)
        for one in moved:
            self.add(target + one[len(source) :])


def _above(path: str) -> Iterator[str]:
    """Iterate over the folders above a path, from the lowest up to the session."""
    while path := dirname(path):
        yield path
