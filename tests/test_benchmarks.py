"""The benchmarks run, and report to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = {"memory/store/1KiB/blocking1", "memory/metadata/aio1", "filesystem+sqlite/retrieve/1KiB/blocking1"}


def run(*arguments):
    """Run a module of the benchmarks."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_json_of_rows(tmp_path):
    """The JSON has exactly the chosen rows with all figures, the machine, the versions and the targets."""
    file = tmp_path / "run.json"
    done = run("benchmarks", "--quick", "--only", *ROWS, "--json", str(file))
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text("utf-8"))
    assert report["complete"]
    assert report["quick"]
    assert {"system", "processor", "cores", "memory_bytes", "load"} <= report["machine"].keys()
    assert report["versions"]["python"]
    rows = {row["name"]: row for row in report["rows"]}
    assert rows.keys() == ROWS
    for name, row in rows.items():
        rounds = len(row["method_us"])
        assert rounds == len(row["floor_us"]) == len(row["ratio"]["rounds"]) > 1
        assert row["ratio"]["least"] <= row["ratio"]["median"] <= row["ratio"]["most"]
        assert 0 < row["latencies_us"]["p50"] <= row["latencies_us"]["p90"] <= row["latencies_us"]["p99"]
        assert row["a_second"] > 0
        assert row["processor_us"] > 0
        assert (row["to_blocking"] is not None) == ("aio" in name)
        assert name in done.stdout
    verdicts = {(target["row"], target["figure"]): target["verdict"] for target in report["targets"]}
    assert verdicts["memory/store/1KiB/blocking1", "ratio"] in {"met", "missed"}
    assert verdicts["memory/retrieve/1KiB/blocking1", "ratio"] == "not measured"


def test_unknown_row():
    """A pattern that matches no row is an error that names the pattern, and no row is measured."""
    done = run("benchmarks", "--only", "memory/store/1KiB", "nonsense")
    assert done.returncode == 2
    assert "no row matches 'nonsense'" in done.stderr
    assert not done.stdout


def test_list():
    """The full and the quick run list each row once, and every target is a row of the full run."""
    code = "from benchmarks.targets import TARGETS; print(*{target.row for target in TARGETS}, sep='\\n')"
    targets = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    names = run("benchmarks", "--list").stdout.splitlines()
    quick = run("benchmarks", "--list", "--quick").stdout.splitlines()
    assert len(names) == len(set(names))
    assert len(quick) == len(set(quick)) < len(names)
    for backend in ("memory", "filesystem+sqlite", "memory+redis", "memory+postgres", "s3+redis", "slow20ms"):
        assert f"{backend}/store/1KiB/blocking1" in quick
        assert f"{backend}/mixed/1KiB/aio128" in names
    assert "memory/upload/256MiB/blocking1" not in names
    assert set(targets.stdout.split()) <= set(names)


def test_only_matches_whole_parts():
    """A pattern matches adjacent whole parts of a name, anywhere in it."""
    listed = run(
        "benchmarks", "--list", "--only", "memory/store/1KiB", "*redis/list*", "metadata/aio1"
    ).stdout.splitlines()
    assert "memory/store/1KiB/aio128" in listed
    assert "memory+redis/list100/blocking1" in listed
    assert "memory/metadata/aio1" in listed
    assert "memory/metadata/aio128" not in listed
    assert not any(name.startswith(("memory+redis/store/", "memory/store_batch", "memory/list")) for name in listed)


def test_client_of_the_bucket_floor():
    """The floor of a bucket uses a client with the configuration of the store's."""
    code = (
        "from benchmarks.service_floors import client_like, client_of\n"
        "from chuk_artifacts import ArtifactStore\n"
        "with ArtifactStore(storage_provider='s3', bucket='bench', endpoint_url='http://127.0.0.1:1') as store:\n"
        "    for client in client_of(store), client_like(store):\n"
        "        config = client.meta.config\n"
        "        print(client.meta.endpoint_url, config.s3, config.retries, config.max_pool_connections)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, bare = done.stdout.splitlines()
    assert ours == bare


def test_plot_without_matplotlib():
    """A plot without matplotlib is an error that says how to install it, before anything is measured."""
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from benchmarks.__main__ import main\n"
        "main(['--quick', '--only', 'memory/store', '--plot', 'unused.png'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[bench]'" in done.stderr
    assert not done.stdout
