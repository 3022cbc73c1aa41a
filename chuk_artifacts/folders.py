"""Folders for nobody but the user, that are still there after a power cut if they have to be."""

from __future__ import annotations

import errno
import os

_PRIVATE_FOLDER = 0o700
_ON_WINDOWS = os.name == "nt"


def make_private_folders(path: str, *, sync: bool) -> None:
    """Make the folder *path* and the missing ones above it, with mode 0700; harmless when it is there.

    Args:
        path: the folder.
        sync: whether each new folder is on the disk before this returns.

    Raises:
        NotADirectoryError: a file is in the way.
        OSError: a folder can't be made.

    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        make_private_folders(parent, sync=sync)
    try:
        os.mkdir(path, _PRIVATE_FOLDER)
    except FileExistsError:
        if not os.path.isdir(path):  # else another process was faster, and may not have synced it yet
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", path) from None
    if sync:
        sync_folder(parent)


def sync_folder(path: str) -> None:
    """Bring the names in a folder to the disk."""
    if _ON_WINDOWS:  # a folder can't be opened there; NTFS journals its changes
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
