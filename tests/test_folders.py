"""Folders: private, made with all that is above them, and on the disk when that is asked for."""

from __future__ import annotations

import os
import stat

import pytest

from chuk_artifacts import folders
from chuk_artifacts.folders import make_private_folders


@pytest.fixture
def synced(monkeypatch):
    """Return the list of the folders that were synced, in their order."""
    synced = []
    monkeypatch.setattr(folders, "sync_folder", synced.append)
    return synced


def test_new_folders_are_private(tmp_path):
    """The folder and the missing ones above it are made for the user only."""
    path = tmp_path / "a" / "b" / "c"
    make_private_folders(str(path), sync=False)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent, path.parent.parent)] == [0o700] * 3


def test_each_new_name_is_synced(tmp_path, synced):
    """Every folder that got a new name in it is synced, from above; a folder that is there needs nothing."""
    path = tmp_path / "a" / "b" / "c"
    make_private_folders(str(path), sync=True)
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    synced.clear()
    make_private_folders(str(path), sync=True)
    make_private_folders(str(tmp_path / "d"), sync=False)
    assert synced == []


def test_folder_that_another_process_makes_meanwhile(tmp_path, synced, monkeypatch):
    """A folder that another process makes at the same moment is synced too: that one may not be so far."""
    path = tmp_path / "a"
    mkdir = os.mkdir

    def too_late(place, mode):
        mkdir(place, mode)
        raise FileExistsError

    monkeypatch.setattr(os, "mkdir", too_late)
    make_private_folders(str(path), sync=True)
    assert synced == [str(tmp_path)]


@pytest.mark.parametrize("below", ["", "/b"])
def test_file_in_the_way(tmp_path, below):
    """A file where a folder has to be is an error that says so."""
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        make_private_folders(f"{tmp_path}/a{below}", sync=True)


def test_names_reach_the_disk(tmp_path):
    """A folder can be synced."""
    folders.sync_folder(str(tmp_path))
