"""Folders: listing what is in them, and below them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from glob import has_magic
from itertools import groupby
from typing import Any

from chuk_artifacts.arguments import check_filename
from chuk_artifacts.errors import AccessDeniedError, InvalidInputError, shown
from chuk_artifacts.filesystem.infos import Info, file_info, folder_info, missing
from chuk_artifacts.filesystem.lookup import Lookup
from chuk_artifacts.filesystem.paths import PROTOCOL, folders_between, parsed, session_segment, text_of
from chuk_artifacts.filesystem.transfers import check_depth
from chuk_artifacts.operations import listing
from chuk_artifacts.operations.finding import age


class Folders(Lookup):
    """List what is in folders and below them."""

    def ls(self, path: object, detail: bool = True, **_: object) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return the files and folders directly in a folder.

        The cost depends on the entries returned, not on the contents of the folders below.

        Args:
            path: the folder, or a file, which is returned itself.
            detail: whether to return infos (see :meth:`info`) or paths.

        Returns:
            the infos, or paths, ordered by name.

        Raises:
            ArtifactNotFoundError: there is neither a folder nor a file.
            AccessDeniedError: the path is the root of a whole store, whose sessions are not listed.

        """
        path = parsed(path)[0]
        infos = list(self._children(path) if path else self._sessions())
        if self._made:
            infos = self._with_made(path, infos)
        if not infos:
            found = self._find(path)
            if found:
                infos = [file_info(path, found)]
            elif not self._is_folder(path):
                raise missing(path)
        return infos if detail else [info["name"] for info in infos]

    def _with_made(self, path: str, infos: list[Info]) -> list[Info]:
        """Add the folders in a folder that were made; forget those that hold a file now."""
        for info in infos if path else ():
            self._made.filled(f"{info['name']}/" if info["type"] == "directory" else info["name"])
        names = {info["name"] for info in infos}
        infos += [folder_info(one) for one in self._made.inside(path) if one not in names]
        return sorted(infos, key=_place) if len(infos) > len(names) else infos

    def _sessions(self) -> Iterator[Info]:
        if self._session_id is None:
            raise AccessDeniedError(f"the sessions of a store are not listed: name one, {PROTOCOL}://{{session_id}}")
        yield folder_info(session_segment(self._session_id)[0])

    def _children(self, path: str) -> Iterator[Info]:
        root, _, folder = path.partition("/")
        prefix = f"{folder}/" if folder else ""
        try:
            found = listing.level(self.store.scope, self._split(path)[0], prefix)
        except InvalidInputError:  # no folder can be called that
            return
        for name, same in groupby(found, listing.shown_name):
            inner = listing.inner_folder(name, prefix)
            if inner:
                yield folder_info(f"{root}/{inner[:-1]}")
            else:
                yield file_info(f"{root}/{name}", sorted(same, key=age, reverse=True))

    def find(
        self,
        path: object,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        detail: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Return the files below a folder, in any depth, by one pass over the session's listing.

        Args:
            path: the folder, or a file, which is returned itself.
            maxdepth: how many levels deep; None: all.
            withdirs: whether to return folders too.
            detail: whether to return infos or paths.
            kwargs: passed on to fsspec.

        Returns:
            the sorted paths, or a dict of infos by path; empty when nothing matches.

        Raises:
            AccessDeniedError: the path is the root of a whole store, whose sessions are not listed.

        """
        root, maxdepth = parsed(path)[0], check_depth(maxdepth)
        if not root:
            (root,) = (info["name"] for info in self._sessions())
        if maxdepth is not None:
            return super().find(root, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        infos = {info["name"]: info for info in self._below(root)}
        if self._made:
            for name in infos:
                self._made.filled(name)
        if withdirs and (infos or self._is_folder(root)):
            folders = {folder for name in infos for folder in folders_between(root, name)}
            for folder in (root, *folders, *self._made.below(root)):
                infos.setdefault(folder, folder_info(folder))
        if not infos and (found := self._find(root)):
            infos[root] = file_info(root, found)
        names = sorted(infos)
        return {name: infos[name] for name in names} if detail else names

    def _below(self, path: str) -> Iterator[Info]:
        root = path.partition("/")[0]
        for name, same in groupby(self._listed(*self._split(path)), listing.shown_name):
            yield file_info(f"{root}/{name}", sorted(same, key=age, reverse=True))

    def glob(self, path: object, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Return the paths that match a pattern.

        Args:
            path: the pattern, see fsspec; the session is no part of it.
            maxdepth: how many levels deep ``**`` goes; None: all.
            kwargs: ``detail=True`` returns a dict of the infos by path.

        Returns:
            the paths, ordered.

        Raises:
            AccessDeniedError: the session is a pattern; sessions are not listed.

        """
        session = text_of(path).removeprefix(f"{PROTOCOL}://").lstrip("/").partition("/")[0]
        if has_magic(session):
            raise AccessDeniedError(f"a session can't be a pattern, and is written %2A for a *: {shown(session)}")
        return super().glob(path, maxdepth=check_depth(maxdepth), **kwargs)

    def walk(self, path: object, maxdepth: int | None = None, topdown: bool = True, **kwargs: Any) -> Iterator[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Iterate over the folders below a path, each with its folders and files, as ``os.walk`` does."""
        path, maxdepth = parsed(path)[0], check_depth(maxdepth)
        folders: Iterator[Any] = super().walk(path, maxdepth=maxdepth, topdown=topdown, **kwargs)
        return folders

    def du(
        self,
        path: object,
        total: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Return the length in bytes of the files below a folder, or a dict of the lengths by path."""
        infos = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in infos.items()}
        return sum(sizes.values()) if total else sizes

    def invalidate_cache(self, path: object = None) -> None:
        """Accept the call, which fsspec makes; listings are not cached."""

    def mkdir(self, path: object, create_parents: bool = True, **_: object) -> None:  # noqa: FBT001, FBT002 - fsspec's
        """Make a folder, and those above it. This object remembers it until a file is in it; others don't see it.

        Args:
            path: the folder; one that exists is left as it is.
            create_parents: ignored: a folder can't be without those above it.

        Raises:
            InvalidInputError: no folder can have the path.
            AccessDeniedError: the session is another than the bound one.

        """
        path, (session, name) = parsed(path)
        if session:
            self._check_session(session)
            if name:
                check_filename(f"{name}/_")
            self._made.add(path)

    def makedirs(self, path: object, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Do what :meth:`mkdir` does; *exist_ok* is ignored."""
        self.mkdir(path)

    def rmdir(self, path: object) -> None:
        """Remove a folder that was made, or accept one that does not exist; raise ``OSError`` if something is in it."""
        path, (session, name) = parsed(path)
        if self._made.below(path) or any(self._listed(session, name, page_size=1)):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        self._made.remove([path])


def _place(info: Info) -> str:
    """Return the sort key of an info in the listing of its folder: a folder stands where its first file would."""
    name: str = info["name"]
    return f"{name}/" if info["type"] == "directory" else name
