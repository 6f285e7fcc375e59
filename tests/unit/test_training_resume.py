import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import training_examples

from melanoma.errors import FaultError, InputError
from melanoma.training import history
from melanoma.training.resume import (
    NO_NOTICE,
    Progress,
    ResumeFolder,
    is_lost_rank,
    other_folders,
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
    base.splits.write_text(base.splits.read_text().replace("val", "train"))
    assert resume_key(base) != key


def start(path, epochs, rank=0):
    folder = ResumeFolder(path, rank)
    folder.begin(epochs)
    return folder


def test_causes_are_recorded(tmp_path):
    start(tmp_path, 0)
    start(tmp_path, 2).ended("SIGTERM")
    start(tmp_path, 3).failed(RuntimeError("[pair.cc] Connection reset by peer"))
    folder = start(tmp_path, 3)
    causes = [(row["cause"].split(":")[0], row["epoch"]) for row in folder.rows()]
    assert causes == [(NO_NOTICE, "2"), ("SIGTERM", "2"), ("lost another process", "3")]
    assert all(row["host"] and row["time"].endswith("+00:00") for row in folder.rows())


def test_the_same_error_without_a_new_epoch_stops_the_third_start(tmp_path):
    start(tmp_path, 1).failed(ValueError("planted"))
    start(tmp_path, 1).ended("SIGTERM")
    start(tmp_path, 1).failed(ValueError("planted"))
    with pytest.raises(InputError, match=r"ValueError: planted.*not started again.*restarts.csv"):
        start(tmp_path, 1)
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
    start(tmp_path, second[0])


def test_errors_of_other_ranks_come_to_the_record(tmp_path):
    start(tmp_path, 1)
    for _ in range(2):
        start(tmp_path, 1, rank=1).failed(ValueError("only here"))
        start(tmp_path, 1, rank=2).failed(RuntimeError("Connection closed by peer"))
        assert [path.name for path in tmp_path.glob("failure-*")] == ["failure-1.json"]
        if _ == 0:
            rows = start(tmp_path, 1).rows()
            assert "only here" in rows[0]["cause"]
    with pytest.raises(InputError, match="only here"):
        start(tmp_path, 1)


def test_leftovers_of_a_kill_are_removed(tmp_path):
    for name in (".state.1.part.ckpt", "best-1.ckpt", "best-2.ckpt"):
        (tmp_path / name).write_text("x")
    folder = start(tmp_path, 0)
    folder.keep_best(2)
    assert sorted(path.name for path in tmp_path.glob("*ckpt*")) == ["best-2.ckpt"]
    assert not list(tmp_path.glob(".*"))


def test_progress(tmp_path):
    folder = ResumeFolder(tmp_path / "resume-1", 0)
    assert folder.progress() == Progress()
    kept = {"melanoma": {"epochs": 3, "finished": True}}
    torch.save({"callbacks": kept}, folder.state)
    assert folder.progress() == Progress(3, True)
    folder.state.write_bytes(b"broken")
    with pytest.raises(InputError, match="remove the folder"):
        folder.progress()
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
with signals.watch(lambda name: Path(sys.argv[1]).write_text(name)):
    signal.signal(signal.SIGTERM, lambda *_: time.sleep(60))
    if sys.argv[3] == "claim":
        signals.claim()
    os.kill(os.getpid(), int(sys.argv[2]))
    time.sleep(30)
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGUSR1", 138), ("SIGINT", 130)])
@pytest.mark.parametrize("claim", ["claim", "leave"])
def test_signals_end_the_process_at_once(tmp_path, name, status, claim):
    note = tmp_path / "note"
    command = [sys.executable, "-c", WATCHING, str(note), str(status - 128), claim]
    assert subprocess.run(command, timeout=20, check=False).returncode == status
    assert note.read_text() == name


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
