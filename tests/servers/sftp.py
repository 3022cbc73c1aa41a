"""Starts a real SFTP server for tests: a filesystem with folders, atomic renames and one connection a client."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko

USER, PASSWORD = "user", "pa@ss:word"


class _Login(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Handle(paramiko.SFTPHandle):
    def stat(self) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Files(paramiko.SFTPServerInterface):
    def __init__(self, server: paramiko.ServerInterface, folder: str) -> None:
        super().__init__(server)
        self._folder = folder

    def _place(self, path: str) -> str:
        return self._folder + self.canonicalize(path)

    @staticmethod
    def _tried(call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def _done(self, call: Callable[..., Any], *args: Any) -> Any:
        failure = self._tried(call, *args)
        return paramiko.SFTP_OK if failure is None else failure

    def list_folder(self, path: str) -> Any:
        def listed() -> list[paramiko.SFTPAttributes]:
            with os.scandir(self._place(path)) as entries:
                return [paramiko.SFTPAttributes.from_stat(entry.stat(), entry.name) for entry in entries]

        return self._tried(listed)

    def stat(self, path: str) -> Any:
        return self._tried(lambda: paramiko.SFTPAttributes.from_stat(os.stat(self._place(path))))

    lstat = stat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> Any:
        descriptor = self._tried(os.open, self._place(path), flags, 0o600)
        if not os.path.exists(self._place(path)):
            return descriptor
        handle = _Handle(flags)
        handle.readfile = handle.writefile = os.fdopen(descriptor, "wb" if flags & os.O_WRONLY else "rb", buffering=0)
        return handle

    def remove(self, path: str) -> Any:
        return self._done(os.remove, self._place(path))

    def posix_rename(self, oldpath: str, newpath: str) -> Any:
        return self._done(os.replace, self._place(oldpath), self._place(newpath))

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> Any:
        return self._done(os.mkdir, self._place(path))

    def rmdir(self, path: str) -> Any:
        return self._done(os.rmdir, self._place(path))


@contextlib.contextmanager
def sftp_server(folder: Path) -> Iterator[str]:
    """Serve a folder on a free loopback port, and give host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    key = paramiko.RSAKey.generate(2048)
    transports: list[paramiko.Transport] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, str(folder))
            with contextlib.suppress(EOFError, paramiko.SSHException):
                transport.start_server(server=_Login())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for transport in transports:
            transport.close()
