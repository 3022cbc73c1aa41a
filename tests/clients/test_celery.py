"""Celery: tasks that store files, run at once, by a worker in threads, and by forked workers."""

from __future__ import annotations

from pathlib import Path

import pytest

celery = pytest.importorskip("celery")
testing = pytest.importorskip("celery.contrib.testing.worker")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TASKS = """
import os

from celery import Celery
from chuk_artifacts import ArtifactStore

app = Celery(**{configuration})
store = ArtifactStore()
store.get_stats()  # opens the catalog before the worker forks


@app.task(name="save")
def save(text):
    return store.write_file(text, filename=f"{{text}}.txt", session_id="tasks"), os.getpid()
"""


@pytest.fixture
def app(store):
    """Return an application with one task, on a broker in memory."""
    app = celery.Celery("test", broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(name="save", shared=False)
    def save(text):
        return store.write_file(text, filename=f"{text}.txt", session_id="tasks")

    return app


def test_eager(app, store):
    """A task that runs at once in the caller's thread stores a file."""
    app.conf.task_always_eager = True
    assert store.read_file(app.tasks["save"].delay("now").get()) == "now"


def test_worker_in_threads(app, store):
    """A worker of threads stores a file for each task."""
    with testing.start_worker(app, pool="threads", concurrency=4, perform_ping_check=False):
        results = [app.tasks["save"].delay(str(number)) for number in range(20)]
        ids = [result.get(timeout=60) for result in results]
    assert [store.read_file(file_id) for file_id in ids] == [str(number) for number in range(20)]


def test_forked_workers(python, store, tmp_path):
    """Worker processes that were forked after the store was opened share it, and end on SIGTERM."""
    folders = {name: str(tmp_path / name) for name in ("data_folder_in", "control_folder", "results")}
    for folder in folders.values():
        Path(folder).mkdir()
    configuration = {
        "main": "tasks",
        "broker": "filesystem://",
        "backend": f"file://{folders.pop('results')}",
        "broker_transport_options": {**folders, "data_folder_out": folders["data_folder_in"]},
        "set_as_current": False,
    }
    (tmp_path / "tasks.py").write_text(TASKS.format(configuration=configuration))
    process = python("celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2", "--loglevel", "INFO")
    process.until("ready")
    client = celery.Celery(**configuration)
    results = [client.send_task("save", [str(number)]) for number in range(10)]
    answers = [result.get(timeout=60) for result in results]
    assert [store.read_file(file_id) for file_id, _ in answers] == [str(number) for number in range(10)]
    assert process.popen.pid not in {pid for _, pid in answers}
    assert process.end() == 0
