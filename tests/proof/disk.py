"""A disk that loses power: from a trace of system calls, what may be on it after a crash at any of them.

The trace is that of ``strace``. A file has what was written before its last fsync; a name is there if its folder was
synced after it was made. What was not synced may be there too, so that each moment has several outcomes.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

CALLS = (
    "openat,mkdir,mkdirat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,"
    "ftruncate,copy_file_range"
)
OUTCOMES = ("least", "names", "all")
"""What of the unsynced survives: nothing, the names without their content, everything."""


def tracer(log: Path, calls: str = CALLS) -> list[str]:
    """Return the command that traces another one; skip where that is impossible."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("not installed: strace")
    refused = subprocess.run([strace, "-qq", "-o", str(log), "true"], capture_output=True, text=True, check=False)
    if refused.returncode:
        pytest.skip(f"strace may not trace here: {refused.stderr.strip()}")
    return [strace, "-f", "-qq", "-y", "-xx", "-s", "100000000", "-e", f"trace={calls}", "-o", str(log)]


@attrs.define(eq=False)
class Inode:
    """A file, or a folder: its content, and what of it was synced."""

    is_folder: bool = False
    data: bytearray = attrs.field(factory=bytearray)
    synced: bytes = b""
    position: int = 0


@attrs.define
class Disk:
    """The names below a root, and those that were synced."""

    root: str
    names: dict[str, Inode] = attrs.field(factory=dict)
    durable: dict[str, Inode] = attrs.field(factory=dict)
    writes: int = 0

    def apply(self, name: str, words: Sequence[str], result: int) -> bool:
        """Carry out a system call; return whether it changed anything below the root."""
        paths = _paths(name, words)
        if not any(path.startswith(f"{self.root}/") or path == self.root for path in paths):
            return False
        {"mkdirat": self._mkdir, "mkdir": self._mkdir, "openat": self._open}.get(name, self._other)(
            name, words, paths, result
        )
        self.writes += 1
        return True

    def _mkdir(self, _: str, __: Sequence[str], paths: list[str], ___: int) -> None:
        self.names[paths[0]] = Inode(is_folder=True)

    def _open(self, _: str, words: Sequence[str], paths: list[str], ___: int) -> None:
        flags = words[2]
        if "O_CREAT" in flags:
            self.names.setdefault(paths[0], Inode())
        if "O_TRUNC" in flags and paths[0] in self.names:
            self.names[paths[0]].data.clear()
        if paths[0] in self.names and not self.names[paths[0]].is_folder:
            self.names[paths[0]].position = 0

    def _other(self, name: str, words: Sequence[str], paths: list[str], result: int) -> None:
        inode = self.names.get(paths[0])
        if name in {"write", "pwrite64"} and inode is not None:
            data = _bytes(words[1])[:result]
            start = int(words[3]) if name == "pwrite64" else inode.position
            inode.data.extend(bytes(max(start - len(inode.data), 0)))
            inode.data[start : start + len(data)] = data
            inode.position = start + len(data)
        elif name == "copy_file_range":
            source, target = self.names[paths[0]], self.names[paths[1]]
            target.data += source.data[len(target.data) : len(target.data) + result]
        elif name in {"fsync", "fdatasync"}:
            self._sync(paths[0], inode)
        elif name == "ftruncate" and inode is not None:
            size = int(words[1])
            inode.data = inode.data[:size] + bytes(max(size - len(inode.data), 0))
        elif name.startswith("rename"):
            self.names[paths[1]] = self.names.pop(paths[0])
        elif name.startswith("link"):
            self.names[paths[1]] = self.names[paths[0]]
        elif name in {"unlink", "unlinkat", "rmdir"}:
            self.names.pop(paths[0], None)

    def _sync(self, path: str, inode: Inode | None) -> None:
        if inode is not None and not inode.is_folder:
            inode.synced = bytes(inode.data)
            return
        inside = {one for one in {*self.names, *self.durable} if posixpath.dirname(one) == path}
        for one in inside:
            self.durable.pop(one, None)
            if one in self.names:
                self.durable[one] = self.names[one]

    def write_out(self, folder: Path, outcome: str) -> None:
        """Write one outcome of a crash at this moment."""
        names = self.durable if outcome == "least" else self.names
        for path in sorted(names):
            parent = posixpath.dirname(path)
            if self.root not in (path, parent) and parent not in names:
                continue
            target = folder / os.path.relpath(path, self.root)
            if not target.parent.is_dir():
                continue
            if names[path].is_folder:
                target.mkdir(0o700, exist_ok=True)
            elif not path.endswith("-shm"):
                target.write_bytes(names[path].data if outcome == "all" else names[path].synced)
                target.chmod(0o600)


_LINE = re.compile(r"^(?:\d+\s+)?(\w+)\((.*)\)\s+=\s+(-?\d+)(?:<.*>)?(?: \(.*\))?$")
_UNFINISHED = re.compile(r"^(\d+)\s+(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+)\s+<\.\.\. \w+ resumed>(.*)$")


def calls(trace: Path) -> Iterator[tuple[str, list[str], int]]:
    """Yield name, arguments and result of each successful system call of a trace."""
    open_calls: dict[str, str] = {}
    for text in trace.read_text().splitlines():
        line = text
        if found := _UNFINISHED.match(line):
            open_calls[found[1]] = line.removesuffix(" <unfinished ...>")
            continue
        if found := _RESUMED.match(line):
            line = open_calls.pop(found[1]) + found[2]
        found = _LINE.match(line)
        if found and int(found[3]) >= 0:
            yield found[1], found[2].split(", "), int(found[3])


def _bytes(word: str) -> bytes:
    return bytes.fromhex(word.strip('"').replace("\\x", ""))


def _text(word: str) -> str:
    return os.fsdecode(_bytes(word))


def _of_descriptor(word: str) -> str:
    found = re.search(r"<(.*)>", word)
    return (
        ""
        if found is None
        else os.fsdecode(re.sub(rb"\\x(..)", lambda m: bytes.fromhex(m[1].decode()), found[1].encode()))
    )


def _paths(name: str, words: Sequence[str]) -> list[str]:
    """Return the paths that a system call concerns."""
    if name in {"openat", "mkdirat", "unlinkat"}:
        return [_joined(words[0], words[1])]
    if name in {"renameat", "renameat2", "linkat"}:
        return [_joined(words[0], words[1]), _joined(words[2], words[3])]
    if name in {"rename", "link"}:
        return [_text(words[0]), _text(words[1])]
    if name in {"mkdir", "unlink", "rmdir"}:
        return [_text(words[0])]
    if name == "copy_file_range":
        return [_of_descriptor(words[0]), _of_descriptor(words[2])]
    return [_of_descriptor(words[0])]


def _joined(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(_of_descriptor(folder), _text(name)))
