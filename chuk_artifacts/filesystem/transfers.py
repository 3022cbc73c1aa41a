"""Expand the arguments of copies, moves and transfers: literal paths, folders, patterns and lists of these."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from glob import has_magic
from typing import TYPE_CHECKING, Any, TypeGuard

import attrs
from fsspec.implementations.local import trailing_sep
from fsspec.utils import other_paths, stringify_path

from chuk_artifacts.arguments import check_count, check_path
from chuk_artifacts.errors import ArtifactNotFoundError, InvalidInputError, shown
from chuk_artifacts.models import ArtifactMetadata

Pairs = list[tuple[str, str]]
"""Pairs of a source path and its target path."""

if TYPE_CHECKING:

    class LocalFileSystem:
        """fsspec's class, which has no types of its own."""

        def __getattr__(self, name: str) -> Any: ...

else:
    from fsspec.implementations.local import LocalFileSystem


class LiteralPaths:
    """Treat a path that exists as a literal path, even if it looks like a pattern: ``a[1].csv`` is a common name."""

    def is_pattern(self: Any, path: str) -> bool:
        """Return whether a path is a pattern: it has glob characters, and no such path exists."""
        return isinstance(path, str) and has_magic(path) and not self.exists(path)

    def expand_path(
        self: Any,
        path: object,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        assume_literal: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> list[str]:
        """Return the paths that a path, a pattern or a list of these matches, sorted.

        Args:
            path: the path, pattern or list.
            recursive: whether to include the contents of folders.
            maxdepth: the number of levels; None: all.
            assume_literal: whether to treat patterns as literal paths.
            kwargs: passed to ``find`` and ``glob``.

        Returns:
            the paths. A literal path is returned without a check if *recursive* is false.

        Raises:
            ArtifactNotFoundError: no path matches.

        """
        maxdepth = check_depth(maxdepth)
        paths: Any = super()
        found: set[str] = set()
        for one in map(self._strip_protocol, several(path)):
            literal = assume_literal or not self.is_pattern(one)
            with suppress(FileNotFoundError):
                found.update(paths.expand_path([one], recursive, maxdepth, assume_literal=literal, **kwargs))
        if not found:
            raise ArtifactNotFoundError(f"no such file: {shown(path)}")
        return sorted(found)


class LocalFiles(LiteralPaths, LocalFileSystem):
    """The local disk."""


def local_paths(path: object) -> Any:
    """Return local paths, or one, as texts; open files stay as they are."""
    if is_list(path):
        return list(map(local_paths, path))
    return path if hasattr(path, "write") else check_path("lpath", path)


@attrs.frozen
class Transfer:
    """A file to copy or move, in its state before the first change of the operation.

    Attributes:
        source: its path.
        target: its new path.
        name: the filename of the target.
        found: the artifacts of the source, the newest first.
        replaced: the artifacts of the target, which are replaced.

    """

    source: str
    target: str
    name: str
    found: Sequence[ArtifactMetadata]
    replaced: Sequence[ArtifactMetadata]


def check_depth(maxdepth: object) -> int | None:
    """Return *maxdepth*, a number of levels, at least one; None: no limit."""
    return None if maxdepth is None else check_count("maxdepth", maxdepth, 1)


def is_list(path: object) -> TypeGuard[Sequence[Any]]:
    """Return whether *path* is a list of paths."""
    return isinstance(path, (list, tuple))


def several(path: object) -> Sequence[Any]:
    """Return a list of paths unchanged, and one path as a list."""
    return path if is_list(path) else [path]


def pairs(
    here: Any, sources: Any, there: Any, targets: Any, *, recursive: bool = False, maxdepth: int | None = None
) -> Pairs:
    """Return the source and the target of each path to copy or move, by fsspec's rules.

    See https://filesystem-spec.readthedocs.io/en/latest/copying.html. A path that exists is not a pattern. With
    *recursive*, the result includes folders.

    Args:
        here: the filesystem of the sources, with :class:`LiteralPaths`.
        sources: a path, a pattern or a list of these.
        there: the filesystem of the targets.
        targets: a path, or a list with one target for each source, which must then be literal paths.
        recursive: whether to include the contents of folders.
        maxdepth: the number of levels; None: all.

    Returns:
        the pairs, without duplicate targets.

    Raises:
        ArtifactNotFoundError: no path matches.
        InvalidInputError: two files have one target, or the number of targets differs from that of sources.

    """
    how: dict[str, bool | int | None] = {"recursive": recursive, "maxdepth": maxdepth}
    if is_list(targets):
        listed = sources if is_list(sources) else here.expand_path(sources)
        found = _one_by_one(here, listed, [_stripped(there, one) for one in targets], how)
        _check_targets(here, found)
        return found
    target = _stripped(there, targets)
    if is_list(sources):
        paths = here.expand_path(sources, **how)
        found = list(zip(paths, other_paths(paths, target, flatten=True), strict=True))
    elif here.is_pattern(_stripped(here, sources)):
        paths = _files_only(here, here.expand_path(sources, **how), how)
        found = list(zip(paths, other_paths(paths, target, exists=len(paths) == 1), strict=True)) if paths else []
    else:
        into = ends_with_slash(targets) or there.isdir(target)
        source = _stripped(here, sources)
        if into and "/" in source and not ends_with_slash(sources):
            target = f"{target}/{source.rpartition('/')[2]}"
        paths = _below(here, source, how)
        if (
            here is not there
        ):  # within one filesystem, folders exist only through their files, and checks of moves need them
            paths = _files_only(here, paths, how)
        found = [(path, _moved(path, source, target)) for path in paths]
    _check_targets(here, found)
    return found


def _one_by_one(here: Any, sources: Sequence[Any], targets: Sequence[str], how: dict[str, bool | int | None]) -> Pairs:
    if len(sources) != len(targets):
        raise InvalidInputError(f"{len(sources)} paths can't become {len(targets)}")
    both = zip([_stripped(here, one) for one in sources], targets, strict=True)
    return [(path, _moved(path, source, target)) for source, target in both for path in _below(here, source, how)]


def _below(here: Any, path: str, how: dict[str, bool | int | None]) -> list[str]:
    """Return a path, and with *recursive* its contents."""
    found: list[str] = here.expand_path([path], assume_literal=True, **how)
    return found


def _files_only(here: Any, paths: list[str], how: dict[str, bool | int | None]) -> list[str]:
    """Return the paths without folders, which fsspec drops unless their contents are complete."""
    if how["recursive"] and how["maxdepth"] is None:
        return paths
    return [path for path in paths if not here.isdir(path)]


def _moved(path: str, source: str, target: str) -> str:
    """Return the new path of *path*, at or below *source*, when *source* becomes *target*."""
    rest = path[len(source) :]
    if not rest:
        return target
    return f"{target}{rest}" if rest[0] == "/" else f"{target}/{rest}"


def _check_targets(here: Any, found: Pairs) -> None:
    """Raise if two files have one target. Two folders may, since a folder is only the prefix of its files."""
    sources: dict[str, str] = {}
    for source, target in found:
        other = sources.setdefault(target, source)
        if other != source and not here.isdir(source):
            if not here.isdir(other):
                raise InvalidInputError(f"{shown(other)} and {shown(source)} can't both become {shown(target)}")
            sources[target] = source


def check_moves(found: Pairs, files: Collection[str]) -> None:
    """Raise if a folder would move into itself, or one path to two targets.

    Args:
        found: the pairs.
        files: the sources that are files; a source may be both a file and a folder.

    Raises:
        InvalidInputError: not all of them can be moved.

    """
    targets: dict[str, str] = {}
    for source, target in found:
        if targets.setdefault(source, target) != target:
            raise InvalidInputError(f"{shown(source)} can't move to both {shown(targets[source])} and {shown(target)}")
        is_inside = target.startswith(f"{source}/")
        if is_inside and (source not in files or any(path.startswith(f"{source}/") for path, _ in found)):
            raise InvalidInputError(f"a folder can't move into itself: {shown(source)} to {shown(target)}")


def in_safe_order(transfers: Iterable[Transfer]) -> list[Transfer]:
    """Return transfers in an order that moves each file away before another replaces it.

    That is impossible only in a cycle, for example when two files are swapped.
    """
    waiting = {transfer.source: transfer for transfer in transfers}
    ordered: list[Transfer] = []
    while waiting:
        chain = [waiting.pop(next(iter(waiting)))]
        while chain[-1].target in waiting:
            chain.append(waiting.pop(chain[-1].target))
        ordered += reversed(chain)
    return ordered


def _stripped(fs: Any, path: Any) -> Any:
    """Return a path in the canonical form of its filesystem; return an open file unchanged."""
    return path if hasattr(path, "write") else fs._strip_protocol(path)  # noqa: SLF001 - as fsspec's own helpers do


def ends_with_slash(path: Any) -> bool:
    """Return whether a path ends with a slash, which makes it a folder."""
    return bool(trailing_sep(os.fspath(stringify_path(path))))
