"""A killed run locks out no other, and a living one is never disturbed."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from melanoma import run_lock
from melanoma.run_lock import NAME, outlive_kills

HOLD = """
import sys, time
from pathlib import Path
from melanoma.run_lock import outlive_kills
held = outlive_kills(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / ".snakemake"


@pytest.fixture
def other_run(folder):
    """Another process that works in the folder; `kill` ends it as a power failure does."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def leave_lock(folder: Path) -> Path:
    """What Snakemake leaves behind when it is killed in the middle of a script."""
    (folder / "locks").mkdir(parents=True)
    (folder / "locks" / "0.output.lock").write_text("results/splits.csv\n")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "tmp1.split.py").write_text("")
    return folder / "locks"


def test_the_lock_of_a_killed_run_is_removed(folder, other_run, caplog):
    locks = leave_lock(folder)
    other_run.kill()
    other_run.wait()
    with outlive_kills(folder):
        assert not locks.exists()
        assert not list((folder / "scripts").iterdir())
    assert "the last run in this folder was killed" in caplog.text


def test_the_lock_of_a_living_run_is_left_alone(folder, other_run):
    locks = leave_lock(folder)
    for _ in range(2):  # as a dry run that comes and goes
        with outlive_kills(folder):
            assert locks.exists()
    assert (folder / "scripts" / "tmp1.split.py").exists()


def test_the_lock_of_another_machine_is_left_alone(folder, other_run, monkeypatch):
    locks = leave_lock(folder)
    other_run.kill()
    other_run.wait()
    monkeypatch.setattr(run_lock.platform, "node", lambda: "elsewhere")
    for _ in range(2):
        with outlive_kills(folder):
            assert locks.exists()


def test_a_lock_of_nobody_known_is_left_alone(folder):
    locks = leave_lock(folder)
    with outlive_kills(folder):
        assert locks.exists()


def test_a_run_without_a_predecessor_makes_the_folder(folder):
    with outlive_kills(folder):
        assert run_lock.platform.node() in (folder / NAME).read_text()


@pytest.mark.parametrize("fails", ["open", "flock"])
def test_a_file_system_that_refuses_stops_no_run(folder, monkeypatch, fails):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    folder.mkdir()
    if fails == "flock":
        monkeypatch.setattr(fcntl, "flock", refuse)
    else:
        (folder / NAME).mkdir()
    assert outlive_kills(folder) is None
