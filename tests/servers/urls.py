"""The options of stores at each kind of URL, with an empty place at hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest  # noqa: TC002 - as everywhere

from servers import asynchronous, ftp, sftp

Options = dict[str, Any]


def in_memory(request: pytest.FixtureRequest) -> Options:
    """Return the options of a place in fsspec's memory, which all of a process share."""
    return {"storage_provider": f"memory://{uuid.uuid4().hex}"}


def in_folder(request: pytest.FixtureRequest) -> Options:
    """Return the options of a folder in a folder of the disk, by a chain of URLs."""
    return {"storage_provider": f"dir://inner::file://{request.getfixturevalue('tmp_path')}/outer"}


def in_loop(request: pytest.FixtureRequest) -> Options:
    """Return the options of a place in a filesystem that is asynchronous within."""
    return {"storage_provider": f"{asynchronous.PROTOCOL}://{uuid.uuid4().hex}"}


def on_ftp(request: pytest.FixtureRequest) -> Options:
    """Return the options of a folder on a real FTP server."""
    host = request.getfixturevalue("ftp_host")
    return {"storage_provider": f"ftp://{ftp.USER}:{ftp.PASSWORD}@{host}/{uuid.uuid4().hex}"}


def on_sftp(request: pytest.FixtureRequest) -> Options:
    """Return the options of a folder on a real SFTP server."""
    host = request.getfixturevalue("sftp_host")
    return {"storage_provider": f"sftp://{sftp.USER}:{sftp.PASSWORD}@{host}/{uuid.uuid4().hex}"}


URLS: dict[str, Callable[[pytest.FixtureRequest], Options]] = {
    "url-memory": in_memory,
    "url-folder": in_folder,
    "url-asynchronous": in_loop,
    "url-ftp": on_ftp,
    "url-sftp": on_sftp,
}
