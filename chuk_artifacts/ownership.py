"""Refuse a file that another local user made, can write, or could have exchanged.

With a signing key or a database of their own making, other users could sign URLs or forge records. ``ssh`` and
PostgreSQL refuse such files too. Root is trusted. Windows has no such owners and modes: there, only the type of a file
is checked.

All functions raise ``OSError``; its ``strerror`` explains what to do.
"""

from __future__ import annotations

import errno
import os
import stat

_HAS_OWNERS = os.name == "posix"
_ROOT = 0
_KINDS = {
    stat.S_IFLNK: "a symbolic link, which is not followed",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ = os.O_RDONLY | _FLAGS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# O_PATH needs no permission to read the folder.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | _FLAGS | getattr(os, "O_DIRECTORY", 0)
_MOST_LINKS = 40  # as in Linux: path_resolution(7)


def check_file(path: str, status: os.stat_result) -> None:
    """Raise ``OSError`` unless this is a regular file of this user or root that no other user can write.

    Args:
        path: its path, for the message.
        status: its own status, not that of the target of a link.

    """
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
        raise _refused(f"{path!r} is {kind}: a regular file is needed")
    _check_owner(f"{path!r}", status)
    users = _users(status, stat.S_IWGRP, stat.S_IWOTH)
    if users and not _is_read_only(path):
        raise _refused(f'{path!r} can be written by {users}: check what it holds, then run "chmod go-w" on it')


def check_folder(path: str, status: os.stat_result, *, sticky: bool) -> None:
    """Raise ``OSError`` unless a folder belongs to this user or root, and is not writable by every user.

    The group may write, as with a umask of 002 or on volumes of Kubernetes: :func:`check_file` refuses a file that
    another member of the group puts there.

    Args:
        path: its path, for the message.
        status: its status.
        sticky: whether the sticky bit suffices (as in ``/tmp``). Other users can then add files, but not exchange
            those of this user; so it suffices for a file that is never removed.

    """
    _check_owner(f"the folder {path!r}", status)
    users = _users(status, 0, stat.S_IWOTH)
    if users and not (sticky and status.st_mode & stat.S_ISVTX) and not _is_read_only(path):
        raise _refused(
            f'the folder {path!r} can be written by {users}: run "chmod go-w" on it, or choose a new folder in it,'
            " which is then made for this user only"
        )


def is_private(path: str, status: os.stat_result) -> bool:
    """Return whether no other user but root can exchange a file before it is opened by its path.

    The file and the folders above it belong to this user or root, none is a link, and no other user can write to any of
    the folders, unless the sticky bit keeps them from exchanging what is not theirs. False where the system has no
    owners of files.

    Args:
        path: its absolute path.
        status: the status of the open file that the path should lead to.

    """
    if not _HAS_OWNERS or not os.path.isabs(path):
        return False
    try:
        if not os.path.samestat(os.lstat(path), status) or not _is_trusted(status):
            return False
        folder = os.path.dirname(path)
        while _is_private_folder(os.lstat(folder)):
            if folder == os.path.dirname(folder):
                return True
            folder = os.path.dirname(folder)
    except OSError:  # removed meanwhile
        return False
    return False


def _is_private_folder(status: os.stat_result) -> bool:
    shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
    return stat.S_ISDIR(status.st_mode) and _is_trusted(status) and not shared


def read_secret(folder: str, name: str, limit: int) -> bytes:
    """Return the first bytes of a file that only this user can read, or that root made.

    The checks use the opened descriptor, so that exchanging the file in between does not help, and nothing blocks.

    Args:
        folder: the folder of the file.
        name: the name of the file in it.
        limit: the largest number of bytes to return.

    Raises:
        FileNotFoundError: the file or the folder does not exist.
        OSError: another user could have made or changed the file, or can read it.

    """
    opened: list[int] = []
    try:
        if os.open in os.supports_dir_fd:
            opened.append(os.open(folder, _FOLDER))
            check_folder(folder, os.fstat(opened[0]), sticky=True)
            content = _read_secret(opened, os.path.join(folder, name), name, limit, opened[0])
        else:
            path = os.path.join(folder, name)
            content = _read_secret(opened, path, path, limit, None)
    except BaseException:  # not `finally`: an interrupt at its line would leave a descriptor open
        _close(opened)
        raise
    _close(opened)
    return content


def _read_secret(opened: list[int], path: str, name: str, limit: int, folder: int | None) -> bytes:
    check_file(path, os.stat(name, dir_fd=folder, follow_symlinks=False))  # opening a device may change it
    opened.append(os.open(name, _READ, dir_fd=folder))
    status = os.fstat(opened[-1])
    check_file(path, status)
    users = _users(status, stat.S_IRGRP, stat.S_IROTH)
    # This user may need others' permission to read a file of root, and can't change the mode of a mounted secret.
    if users and is_own(status) and not _is_read_only(path):
        raise _refused(
            f'{path!r} can be read by {users}: run "chmod 600" on it, or, if someone may have read it, remove it'
        )
    return os.read(opened[-1], limit)


def _close(opened: list[int]) -> None:
    while opened:
        os.close(opened.pop())


def resolve_links(path: str) -> str:
    """Return a path without symbolic links, except that an untrusted link stays as the last component.

    A link is untrusted if its target does not exist, if another user made it, or if other users can exchange it in its
    folder. Opening the path then refuses the link.

    Args:
        path: the configured path.

    """
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        if name in {"", os.curdir, os.pardir}:
            return os.path.realpath(path)
        folder = os.path.realpath(folder)
        path = os.path.join(folder, name)
        if not (os.path.islink(path) and _is_own_link(folder, path)):
            break
        path = os.path.join(folder, os.readlink(path))
    return path


def _is_own_link(folder: str, path: str) -> bool:
    try:
        _check_owner(path, os.lstat(path))
        check_folder(folder, os.stat(folder), sticky=True)
    except OSError:
        return False
    return os.path.exists(path)


def is_own(status: os.stat_result) -> bool:
    """Return whether a file belongs to this user, who can then change its mode; always true on Windows."""
    return not _HAS_OWNERS or status.st_uid == os.geteuid()


def _is_trusted(status: os.stat_result) -> bool:
    return is_own(status) or status.st_uid == _ROOT


def _check_owner(subject: str, status: os.stat_result) -> None:
    if not _is_trusted(status):
        raise _refused(
            f"{subject} belongs to user {status.st_uid}, and this process runs as user {os.geteuid()}: run it as the"
            " owner, or, if you trust what is there, change the owner with chown"
        )


def _users(status: os.stat_result, group: int, others: int) -> str:
    """Return the other users who have a permission, in words for a message; empty if there are no others."""
    if not _HAS_OWNERS:
        return ""
    return "every user" if status.st_mode & others else "its group" if status.st_mode & group else ""


def _is_read_only(path: str) -> bool:
    """Return whether a path is on a file system that is mounted read-only, where no mode permits writing."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _refused(reason: str) -> OSError:
    return PermissionError(errno.EPERM, reason)
