"""Folders and files beneath a root, reached through no symbolic link, whatever others exchange on the way meanwhile.

Checking each folder before using a path leaves a moment for a folder to become a link. So a folder is
opened, and what is done in it is done by its descriptor. Linux resolves the whole way in one call of ``openat2`` [1];
elsewhere each level is opened in the one above. Windows has no such descriptors: there the look has to do.

[1] https://man7.org/linux/man-pages/man2/openat2.2.html
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_LIST = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOEXEC
_ENTER = _LIST | getattr(os, "O_PATH", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _CLOEXEC  # or a FIFO waits
_LOOK = getattr(os, "O_PATH", 0) | _NO_FOLLOW | _CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _CLOEXEC
_PRIVATE_FILE = 0o600
_BY_DESCRIPTOR = os.open in os.supports_dir_fd

_OPENAT2 = 437  # the number of the call on all architectures but Alpha
_RESOLVE = 0x04 | 0x08  # RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_HERE = -100  # AT_FDCWD
_is_descriptor = (-1).__lt__


class Descriptor(int):
    """A descriptor that is closed when the last reference to it goes.

    All of that happens in C, where no interrupt finds a descriptor without its owner; a finalizer in Python could be
    interrupted itself. Reading the property makes the call that closes, which Python then carries out.
    """

    __slots__ = ()
    __del__: Any = property(functools.partial(functools.partial, os.close))


class Way(NamedTuple):
    """The names that lead from the root to a folder, checked, and the same as the bytes of a path."""

    names: tuple[str, ...]
    encoded: bytes

    @property
    def above(self) -> Way:
        """The way to its parent folder."""
        return Way(self.names[:-1], self.encoded.rpartition(b"/")[0])


def _path(way: Way, name: str) -> bytes:
    return b"%b/%b" % (way.encoded, os.fsencode(name)) if way.names else os.fsencode(name)


class Folder:
    """An open folder: hand ``prefix + name`` and ``dir_fd=descriptor`` to a function of :mod:`os`.

    As a context manager it closes the descriptor at its end: an exception that is kept refers to the frames that it
    left, and to what they hold.
    """

    __slots__ = ("descriptor", "prefix")

    def __init__(self, descriptor: Descriptor | None, prefix: str = "") -> None:
        """Keep what it is made of."""
        self.descriptor: Descriptor | None = descriptor
        self.prefix: str = prefix

    def __enter__(self) -> Folder:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the descriptor."""
        self.descriptor = None

    @property
    def listable(self) -> Descriptor | str:
        """What :func:`os.scandir` takes."""
        return self.prefix if self.descriptor is None else self.descriptor

    @property
    def number(self) -> int | None:
        """The descriptor for a function that may raise: its frame does not keep this open."""
        return None if self.descriptor is None else int(self.descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        self.descriptor = None

    def child(self, name: str, flags: int = _ENTER) -> Folder:
        """Return the folder with this name, unless it is a link."""
        if self.descriptor is not None:
            return Folder(_step(self.descriptor, name, flags))
        _refuse_link(self, name)
        return Folder(None, f"{self.prefix}{name}{os.sep}")

    def create(self, name: str) -> Iterable[int]:
        """Return what makes a new file, private and empty, and gives its descriptor when it is asked for the next."""
        opening = functools.partial(os.open, dir_fd=self.descriptor)
        return map(opening, (self.prefix + name,), (_CREATE,), (_PRIVATE_FILE,))

    def remove_empty(self, name: str) -> None:
        """Remove it, by its *name* in the parent folder, if it is empty."""
        try:
            if self.descriptor is None:
                os.rmdir(self.prefix)
            else:  # ``..`` of an open folder is where it really lies, and no link
                os.rmdir(f"../{name}", dir_fd=self.descriptor)
        except OSError:  # there is something, mostly
            return

    def sync(self) -> None:
        """Bring the names in it to the disk."""
        if self.descriptor is not None:  # on Windows no folder can be opened; NTFS journals its changes
            os.fsync(_step(self.descriptor, ".", _LIST))


class Root:
    """The folder beneath which everything is. It stays open from its first use on, so that no other can replace it.

    Attributes:
        path: its absolute path.

    """

    def __init__(self, path: str) -> None:
        """Open nothing yet."""
        self.path = path
        self._held: dict[str, tuple[Folder, os.stat_result]] = {}

    @property
    def is_held(self) -> bool:
        """Whether it is open."""
        return bool(self._held)

    def close(self) -> None:
        """Close it; the next use opens it again."""
        self._held.clear()

    def itself(self) -> Folder:
        """Return the root.

        Raises:
            FileNotFoundError: it does not exist.
            OSError: it is not the folder any more that it was at the first use, or it is none.

        """
        held = self._held.get("root") or self._hold()
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            raise self._replaced() from None
        if found.st_ino != held[1].st_ino or found.st_dev != held[1].st_dev:
            raise self._replaced()
        return held[0]

    def folder(self, way: Way, *, listed: bool = False) -> Folder:
        """Return an open folder; *listed*: one whose names can be listed, and brought to the disk."""
        return self.below(self.itself(), way, _LIST if listed else _ENTER)

    def below(self, folder: Folder, way: Way, flags: int = _ENTER) -> Folder:
        """Open and return the folder at *way* below *folder*."""
        kernel = _kernel()
        if kernel is not None and folder.descriptor is not None:
            return Folder(kernel(folder.descriptor, way.encoded or b".", _how(flags)))
        for name in way.names or (".",):
            folder = folder.child(name, flags)
        return folder

    def read(self, way: Way, name: str) -> tuple[Descriptor, os.stat_result]:
        """Return a regular file, open for reading, and its status; anything else is refused, and never waited for.

        Args:
            way: the way to its folder.
            name: its name there.

        """
        try:
            descriptor = self._opened_to_read(self.itself(), way, name)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a socket, or a device without a driver
                raise _not_regular(name) from error
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            del descriptor  # see Folder
            raise _not_regular(name)
        return descriptor, status

    def _opened_to_read(self, root: Folder, way: Way, name: str) -> Descriptor:
        kernel = _kernel()
        if kernel is not None and root.descriptor is not None:
            return kernel(root.descriptor, _path(way, name), _how(_READ))
        with self.below(root, way) as folder:
            if folder.descriptor is not None:
                return _step(folder.descriptor, name, _READ)
            _refuse_link(folder, name)
            return next(map(Descriptor, map(os.open, (folder.prefix + name,), (_READ,))))

    def status(self, way: Way, name: str) -> os.stat_result:
        """Return the status of a file, folder or link; its folder is no link."""
        root, kernel = self.itself(), _kernel()
        if kernel is not None and root.descriptor is not None:
            return os.fstat(kernel(root.descriptor, _path(way, name), _how(_LOOK)))
        with self.below(root, way) as folder:
            return os.stat(folder.prefix + name, dir_fd=folder.descriptor, follow_symlinks=False)

    def _hold(self) -> tuple[Folder, os.stat_result]:
        if _BY_DESCRIPTOR:
            descriptor = _step(None, self.path, _ENTER)
            held = Folder(descriptor), os.fstat(descriptor)
        else:
            held = Folder(None, f"{self.path}{os.sep}"), os.lstat(self.path)
        return self._held.setdefault("root", held)  # another thread may have come first

    def _replaced(self) -> OSError:
        message = "the root folder was removed or replaced while the store was open; restore it, or open a new store"
        return OSError(errno.ESTALE, message, self.path)


@functools.cache
def _kernel() -> Callable[[int, bytes, bytes], Descriptor] | None:
    """Return what opens a path beneath a descriptor by ``openat2``.

    None: the kernel is not Linux 5.6 or later, or a sandbox does not allow the call.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes  # noqa: PLC0415 - which only Linux needs

        call: Any = ctypes.CDLL(None, use_errno=True).syscall
    except (ImportError, OSError, AttributeError):
        return None
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    opened = functools.partial(_openat2, call, ctypes.get_errno)
    try:
        opened(_HERE, b".", _how(_ENTER))
    except OSError:
        return None
    return opened


def _openat2(
    call: Callable[..., int], get_errno: Callable[[], int], folder: int, path: bytes, how: bytes
) -> Descriptor:
    while True:
        numbers = itertools.starmap(call, ((_OPENAT2, folder, path, how, len(how)),))
        found = next(map(Descriptor, filter(_is_descriptor, numbers)), None)
        if found is not None:
            return found
        number = get_errno()
        if number == errno.ELOOP:
            raise _link_error(os.fsdecode(path))
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), os.fsdecode(path))


@functools.cache
def _how(flags: int) -> bytes:
    """Return the ``struct open_how``: flags, mode and resolve, of 64 bits each."""
    return struct.pack("=QQQ", flags, 0, _RESOLVE)


def _step(folder: Descriptor | None, name: str, flags: int) -> Descriptor:
    """Open a name in a folder; None: in the current one."""
    try:
        numbers = map(functools.partial(os.open, dir_fd=folder), (name,), (flags | _NO_FOLLOW,))
        return next(map(Descriptor, numbers))
    except OSError as error:
        if error.errno != errno.ENOENT:  # each system has its own error for a link
            _refuse_link(Folder(folder), name, error)
        raise


def _refuse_link(folder: Folder, name: str, cause: OSError | None = None) -> None:
    path = folder.prefix + name
    if stat.S_ISLNK(os.stat(path, dir_fd=folder.descriptor, follow_symlinks=False).st_mode):
        raise _link_error(path) from cause


def _link_error(path: str) -> OSError:
    return OSError(errno.ELOOP, "a symbolic link is not followed", path)


def _not_regular(name: str) -> OSError:
    return OSError(errno.EINVAL, "not a regular file", name)
