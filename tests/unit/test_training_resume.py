import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
import training_examples

from melanoma.errors import FaultError, InputError
from melanoma.training import history, starts
from melanoma.training.resume import Standing, other_folders, standing_of
from melanoma.training.starts import (
    NO_NOTICE,
    Outlook,
    ResumeFolder,
    is_lost_rank,
    outlook,
    resume_key,
)


@pytest.fixture
def data(tmp_path):
    training_examples.write_data(tmp_path)
    return tmp_path


def test_key_follows_what_decides_the_result(data, tmp_path):
    base = training_examples.job(data, tmp_path)
    key = resume_key(base)
    assert len(key) == 12
    same = [
        replace(base, output=tmp_path / "elsewhere"),
        training_examples.job(data, tmp_path, training={"gpus_per_node": 4, "resident": "on"}),
    ]
    assert {resume_key(job) for job in same} == {key}
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"x")
    others = [
        replace(base, fold=1),
        replace(base, code="other"),
        replace(base, weights=weights),
        training_examples.job(data, tmp_path, training={"lr": 0.1}),
        training_examples.job(data, tmp_path, model={"metadata": False}),
    ]
    assert len({key, *(resume_key(job) for job in others)}) == 6


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("splits.csv", "val", "train"),
        ("train.csv", ",female,", ",male,"),
        ("none-crop-32.json", '"sha256": "', '"sha256": "0'),
    ],
)
def test_key_follows_what_is_in_the_files(data, tmp_path, file, old, new):
    job = training_examples.job(data, tmp_path)
    key = resume_key(job)
    text = (data / file).read_text()
    assert old in text
    (data / file).write_text(text.replace(old, new))
    assert resume_key(job) != key


def start(path, epochs, rank=0):
    folder = ResumeFolder(path, rank)
    folder.begin(epochs)
    return folder


def lost_without_notice(path, epochs):
    """A start whose process is gone: nothing is recorded, and the lock is free."""
    start(path, epochs)._unlock()


def test_causes_are_recorded(tmp_path, monkeypatch):
    lost_without_notice(tmp_path, 0)
    start(tmp_path, 2).ended("SIGTERM")
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    start(tmp_path, 3).failed(RuntimeError("[pair.cc] Connection reset by peer"))
    folder = start(tmp_path, 3)
    causes = [(row["cause"].split(":")[0], row["epoch"]) for row in folder.rows()]
    assert causes == [(NO_NOTICE, "0"), ("SIGTERM", "2"), ("lost another process", "3")]
    assert all(row["host"] and row["time"].endswith("+00:00") for row in folder.rows())
    assert (folder.rows()[-1]["host"], folder.rows()[-1]["job"]) == ("node7", "12")


SAME = r"ValueError: planted.*not started again.*restarts.csv"


def test_the_same_error_without_a_new_epoch_stops_the_third_start(tmp_path):
    start(tmp_path, 1).failed(ValueError("planted"))
    start(tmp_path, 1).ended("SIGTERM")
    start(tmp_path, 1).failed(ValueError("planted"))
    for _ in range(2):
        folder = ResumeFolder(tmp_path, 0)
        with pytest.raises(InputError, match=SAME), folder.recorded():
            pytest.fail("begun")
        assert len(folder.rows()) == 3, "the refusal is no start"
    (tmp_path / "restarts.csv").unlink()
    start(tmp_path, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1, ValueError("a")), (2, ValueError("a"))),
        ((1, ValueError("a")), (1, ValueError("b"))),
        ((1, RuntimeError("NCCL error")), (1, RuntimeError("NCCL error"))),
        ((1, FaultError("no room")), (1, FaultError("no room"))),
    ],
)
def test_other_errors_do_not(tmp_path, first, second):
    for epochs, error in (first, second):
        start(tmp_path, epochs).failed(error)
    assert len(start(tmp_path, second[0]).rows()) == 2, "both are on record, and it begins"


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ([("SIGUSR1", 1)] * 3, "reached their time limit"),
        ([("SIGUSR1", 1)] * 2, None),
        ([("SIGUSR1", 0), ("SIGUSR1", 1), ("SIGUSR1", 1)], None),
        ([("SIGTERM", 1)] * 5, None),
        ([("SIGUSR1", 1), ("SIGTERM", 1), ("SIGUSR1", 1)], None),
        ([(NO_NOTICE, 1)] * 3, "were killed"),
        ([(NO_NOTICE, 1)] * 2, None),
        ([(NO_NOTICE, 0), (NO_NOTICE, 1), (NO_NOTICE, 1)], None),
    ],
)
def test_other_ends_in_one_epoch_are_enough_at_some_time(tmp_path, ends, reason):
    for cause, epochs in ends:
        start(tmp_path, epochs).ended(cause)
    if reason:
        with pytest.raises(InputError, match=reason):
            start(tmp_path, 1)
    else:
        start(tmp_path, 1)


def test_errors_of_other_ranks_come_to_the_record(tmp_path):
    for number in range(2):
        lost_without_notice(tmp_path, 1)
        start(tmp_path, 1, rank=1).failed(ValueError("only here"))
        start(tmp_path, 1, rank=2).failed(RuntimeError("Connection closed by peer"))
        assert [path.name for path in tmp_path.glob("failure-*")] == ["failure-1.json"]
        if number == 0:
            folder = start(tmp_path, 1)
            assert "only here" in folder.rows()[-1]["cause"]
            folder._unlock()
    with pytest.raises(InputError, match="only here"):
        start(tmp_path, 1)


def test_an_error_of_all_ranks_counts_once(tmp_path):
    folder = start(tmp_path, 0)
    for rank in (1, 2):
        start(tmp_path, 0, rank).failed(ValueError("same"))
    folder.failed(ValueError("same"))
    assert len(start(tmp_path, 0).rows()) == 1


def test_an_error_before_anything_is_loaded_is_recorded(tmp_path):
    with pytest.raises(ImportError), ResumeFolder(tmp_path, 0).recorded():
        raise ImportError("no such module")
    assert "ImportError" in start(tmp_path, 0).rows()[0]["cause"]


def test_a_second_process_waits_for_the_first(tmp_path, monkeypatch):
    first = start(tmp_path, 0)
    monkeypatch.setattr(starts, "LOCK_SECONDS", 0)
    with pytest.raises(InputError, match="another process trains here"):
        start(tmp_path, 0)
    first._unlock()
    start(tmp_path, 0)


def test_a_folder_goes_when_the_training_is_done_and_its_results_are_there(tmp_path):
    done, other = tmp_path / "resume-1", tmp_path / "resume-2"
    start(other, 0)
    folder = start(done, 3)
    for name in starts.RESULTS:
        (tmp_path / name).touch()
    starts.tidy(tmp_path)
    assert done.exists()
    folder.finish()
    folder.ended("SIGTERM")
    assert folder.rows() == []
    (tmp_path / "model.ckpt").unlink()
    starts.tidy(tmp_path)
    assert done.exists(), "a job that is requeued now needs it"
    (tmp_path / "model.ckpt").touch()
    starts.tidy(tmp_path)
    assert not done.exists()
    assert other.exists()


def add_epochs(path, number):
    row = dict.fromkeys(history.COLUMNS, 1.5) | {"stage": "all"}
    for epoch in range(number):
        history.append(path / "history.csv", {**row, "epoch": epoch})


def test_outlook(tmp_path):
    assert outlook(tmp_path, 0) is None
    path = tmp_path / "resume-1"
    start(path, 0).failed(ValueError("planted"))
    assert outlook(tmp_path, 0) == Outlook(0, "")
    assert outlook(tmp_path, time.time() + 1) is None, "of an earlier run"
    add_epochs(path, 1)
    start(path, 1).failed(ValueError("planted"))
    assert outlook(tmp_path, 0) == Outlook(1, "")
    lost_without_notice(path, 1)
    start(path, 1, rank=3).failed(ValueError("planted"))
    found = outlook(tmp_path, 0)
    assert found.epochs == 1
    assert "ValueError: planted" in found.hopeless
    start(tmp_path / "resume-2", 0).ended("SIGTERM")
    assert outlook(tmp_path, 0) == Outlook(0, ""), "other settings"


def test_leftovers_of_a_kill_are_removed(tmp_path):
    for name in (".state.1.part.ckpt", "best-1.ckpt", "best-2.ckpt"):
        (tmp_path / name).write_text("x")
    folder = start(tmp_path, 0)
    folder.keep_best(2)
    assert sorted(path.name for path in tmp_path.glob("*ckpt*")) == ["best-2.ckpt"]
    assert not list(tmp_path.glob(".*"))


def test_progress(tmp_path):
    folder = ResumeFolder(tmp_path / "resume-1", 0)
    assert standing_of(folder) == Standing()
    kept = {"melanoma": {"epochs": 3, "finished": True}}
    torch.save({"callbacks": kept}, folder.state)
    assert standing_of(folder) == Standing(3, True)
    folder.state.write_bytes(b"broken")
    with pytest.raises(InputError, match="remove the folder"):
        standing_of(folder)
    (tmp_path / "resume-2").mkdir()
    assert other_folders(tmp_path, folder.path) == ["resume-2"]


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.distributed.DistBackendError("x"), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:545] Read error"), True),
        (RuntimeError("CUDA out of memory"), False),
        (ValueError("gloo"), False),
    ],
)
def test_lost_ranks(error, lost):
    assert is_lost_rank(error) is lost


def test_history_has_no_epoch_twice(tmp_path):
    path = tmp_path / "history.csv"
    row = dict.fromkeys(history.COLUMNS, 1.5) | {"stage": "all"}
    for epoch in (0, 1, 2, 1):
        history.append(path, {**row, "epoch": epoch, "val_macro_auroc": float("nan")})
    assert [old["epoch"] for old in history.read(path)] == ["0", "1"]
    assert history.read(path)[0]["val_macro_auroc"] == ""
    history.trim(path, 1)
    assert path.read_text().splitlines()[0] == ",".join(history.COLUMNS)
    assert [old["epoch"] for old in history.read(path)] == ["0"]
    assert history.read(tmp_path / "none.csv") == []


WATCHING = """
import os, signal, sys, time
from pathlib import Path
from melanoma.training import signals
note, number, claims, seconds = sys.argv[1:]
with signals.watch(lambda name: Path(note).write_text(name), float(seconds)) as notice:
    signal.signal(signal.SIGTERM, lambda *_: time.sleep(60))
    if claims == "claim":
        signals.claim()
    for each in number.split(","):
        os.kill(os.getpid(), int(each))
        time.sleep(0.5)
    notice.end_if_told()
    time.sleep(30)
"""
USR1, TERM = str(int(signal.SIGUSR1)), str(int(signal.SIGTERM))


def watching(note, numbers, claims="claim", seconds=60):
    command = [sys.executable, "-c", WATCHING, str(note), numbers, claims, str(seconds)]
    return subprocess.run(command, timeout=20, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.parametrize("claims", ["claim", "leave"])
def test_signals_end_the_process_at_once(tmp_path, name, status, claims):
    note = tmp_path / "note"
    assert watching(note, str(status - 128), claims).returncode == status
    assert note.read_text() == name


@pytest.mark.parametrize(
    ("numbers", "seconds", "waits"),
    [
        (USR1, 60, True),
        (USR1, 0, False),
        (f"{USR1},{USR1}", 60, True),
        (f"{USR1},{TERM}", 60, False),
    ],
    ids=["end of epoch", "out of time", "twice", "time limit"],
)
def test_the_warning_before_a_time_limit_waits_for_the_end_of_the_epoch(
    tmp_path, numbers, seconds, waits
):
    note = tmp_path / "note"
    began = time.monotonic()
    done = watching(note, numbers, seconds=seconds)
    assert done.returncode == 138, done.stderr
    assert note.read_text() == "SIGUSR1"
    assert (time.monotonic() - began > 0.5) or not waits


RECORDED = """
import os, signal, sys, time
from pathlib import Path
from melanoma.training.starts import ResumeFolder
folder = ResumeFolder(Path(sys.argv[1]), 0)
with folder.recorded():
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.5)
    folder.epochs = 2
    folder.epoch_is_saved()
"""


def test_a_time_limit_is_recorded_with_the_epoch_that_was_still_done(tmp_path):
    command = [sys.executable, "-c", RECORDED, str(tmp_path)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 138
    (row,) = ResumeFolder(tmp_path, 0).rows()
    assert (row["cause"], row["epoch"]) == ("SIGUSR1", "2")


RECORDED_BEFORE_END = """
import os, signal, sys, time
from pathlib import Path
from melanoma.training.starts import ResumeFolder
folder = ResumeFolder(Path(sys.argv[1]), 1)
with folder.recorded():
    folder.before_end.append((Path(sys.argv[1]) / "told").touch)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""


def test_what_is_to_be_done_before_a_signal_ends_a_rank_is_done(tmp_path):
    command = [sys.executable, "-c", RECORDED_BEFORE_END, str(tmp_path)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 143
    assert (tmp_path / "told").exists()


def test_the_first_start_is_known_as_such(tmp_path):
    one = start(tmp_path, 0)
    assert one.first
    one.ended("SIGTERM")
    assert not start(tmp_path, 0).first


AFTERWARDS = """
import json, signal
from melanoma.training import signals
before = [signal.getsignal(number) for number in signals.WATCHED]
with signals.watch(print):
    assert signal.getsignal(signal.SIGTERM) is signals._noted
print(json.dumps(before == [signal.getsignal(number) for number in signals.WATCHED]))
"""


def test_handlers_are_given_back():
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, check=True)
    assert json.loads(done.stdout) is True


ORPHAN = """
import os, signal, subprocess, sys
child = "import time; from melanoma.training import signals; signals.die_with_parent(); "
child += "print('up', flush=True); time.sleep(60)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_rank_ends_with_the_one_that_started_it():
    # Its end closes the last copy of the pipe, which is what communicate waits for.
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == -9
    assert int(done.stdout) > 0
