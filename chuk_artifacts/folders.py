"""Private folders and files that, on request, survive a power cut."""

from __future__ import annotations

import errno
import os

_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600
_CLAIM = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_THE_LINK_ITSELF: dict[str, bool] = {"follow_symlinks": False} if os.link in os.supports_follow_symlinks else {}
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


def claim(temporary: str, target: str, folder: int | None = None) -> None:
    """Move a file to a path where nothing is.

    Args:
        temporary: where the file is.
        target: where it goes, on the same disk.
        folder: the descriptor of the folder that both are relative to.

    Raises:
        FileExistsError: something is there, be it a link to nowhere.

    """
    try:
        os.link(temporary, target, src_dir_fd=folder, dst_dir_fd=folder, **_THE_LINK_ITSELF)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (FAT, some network shares): claim the name first
        os.close(os.open(target, _CLAIM, _PRIVATE_FILE, dir_fd=folder))
        try:
            os.replace(temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(target, dir_fd=folder)
            raise
    else:
        os.unlink(temporary, dir_fd=folder)
