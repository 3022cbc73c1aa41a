"""Keep a database file, and those that SQLite makes beside it, to their owner.

SQLite itself opens whatever is there, follows links, waits for a FIFO, and replays a log that another user left. It
gives the files beside a database the mode of the database, whatever the umask says.

No descriptor is opened here: closing one drops the locks of every connection to the file in this process. Looking at
the path is enough, because no other user can exchange anything in a folder that has passed its check.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from chuk_artifacts.log import log as _log
from chuk_artifacts.ownership import check_file, check_folder, is_own

_PRIVATE = 0o600
_BESIDE = ("-journal", "-wal", "-shm", "-reserve")
_HAS_OWNERS = os.name == "posix"


def check_place(path: str) -> None:
    """Raise ``OSError`` unless the folder of a database file can be trusted.

    The sticky bit is not enough: SQLite removes its log and makes it anew, and between that others could make one.
    """
    folder = os.path.dirname(path) or os.curdir
    check_folder(folder, os.stat(folder), sticky=False)


def check_database(path: str) -> bool:
    """Raise ``OSError`` unless a database file and those beside it can be trusted; make them private.

    Returns:
        whether SQLite may give new files beside it a wider mode than 0600, because the database is root's: see
        :func:`make_private`.

    """
    check_place(path)
    status = os.lstat(path)
    check_file(path, status)
    for place, found in _beside(path):
        check_file(place, found)
    private = _narrowed(path, status)
    if private and not _is_private(status):
        mode = f"{stat.S_IMODE(status.st_mode):o}"
        _log.warning("catalog %s had mode %s, and has 600 now: SQLite gives it to the files beside it", path, mode)
    make_private(path)
    return not private


def make_private(path: str) -> None:
    """Give the files beside a database file mode 0600, where they are this user's."""
    for place, found in _beside(path):
        _narrowed(place, found)


def _beside(path: str) -> Iterator[tuple[str, os.stat_result]]:
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            yield f"{path}{suffix}", os.lstat(f"{path}{suffix}")


def _is_private(status: os.stat_result) -> bool:
    return not _HAS_OWNERS or not stat.S_IMODE(status.st_mode) & ~_PRIVATE


def _narrowed(path: str, status: os.stat_result) -> bool:
    """Take from a file what its mode allows beyond 0600; say whether it is private now."""
    if _is_private(status):
        return True
    if not is_own(status):
        return False
    try:
        os.chmod(path, status.st_mode & _PRIVATE)
    except OSError:  # removed meanwhile, or on a file system without modes, or one that is mounted to read only
        return False
    return True
