"""Broken machines, beside full disks and kills: clocks, permissions, ranks that lag."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import training_examples
from runs import ROOT, planned, snakemake

from melanoma.training.module import Classifier
from melanoma.training.run import train

ONCE = {"inspect", "catalogue", "split", "remove_hair", "resize", "pack", "train"}
"""What costs much; the rest depends on a model, a file too large to be compared by content."""

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
"""From linux/prctl.h and linux/capability.h: what lets root write where nobody may."""


@pytest.fixture
def results(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished working folder, to be spoilt."""
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def turn_back(folder: Path) -> None:
    """Give files dates as a clock does that runs backwards: what was made last is oldest.

    All lie in the future: a result older than its rule's script counts as made by another script.
    """
    files = [path for path in folder.rglob("*") if ".snakemake" not in path.parts]
    files = [path for path in files if not path.is_symlink()]
    start = time.time() + 3_600
    for number, path in enumerate(sorted(files, key=lambda path: -path.stat().st_mtime)):
        os.utime(path, (start + number, start + number))


def test_a_clock_that_goes_backwards_trains_nothing_anew(results):
    turn_back(results)
    assert not ONCE & set(planned(snakemake(results, "-n")))


def test_a_training_does_not_ask_what_time_it_is(tmp_path, monkeypatch):
    training_examples.write_data(tmp_path / "data")
    model = {"image": False}
    whole = training_examples.job(tmp_path / "data", tmp_path / "whole", model)
    train(whole)
    broken = training_examples.job(tmp_path / "data", tmp_path / "broken", model)
    now = [time.time()]

    def backwards() -> float:
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", backwards)
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_validation_epoch_end", interrupt)
        with pytest.raises(OSError, match="disk gone"):
            train(broken)
    train(broken)
    for name in ("model.ckpt", "last.ckpt"):
        first, second = (
            torch.load(job.output / name, weights_only=True)["state_dict"]
            for job in (whole, broken)
        )
        assert [key for key in first if not torch.equal(first[key], second[key])] == []


def interrupt(self: Classifier) -> None:
    raise OSError("disk gone")


def without_privilege() -> None:
    """Let permissions hold for root as for anybody."""
    if os.geteuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def run_unprivileged(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("snakemake")
    return subprocess.run(
        [str(program), "--directory", str(folder), *arguments],
        cwd=ROOT,
        preexec_fn=without_privilege,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def read_only(results: Path):
    """A folder of resources that holds everything and cannot be written to."""
    resources = results / "resources"
    folders = [resources, *(path for path in resources.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield results
    for folder in folders:
        folder.chmod(0o755)


def test_resources_that_are_there_need_not_be_writable(read_only):
    before = (read_only / "results" / "splits.csv").read_bytes()
    done = run_unprivileged(read_only, "--forcerun", "split", "--", "results/splits.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (read_only / "results" / "splits.csv").read_bytes() == before


def test_resources_that_cannot_be_fetched_are_said_to_be_so(read_only):
    wanted = "resources/isic2019/test/metadata.csv"
    done = run_unprivileged(read_only, wanted)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "resources/isic2019" in told
    assert "Permission denied" in told
    assert "Traceback" not in told
    assert json.loads((read_only / "results" / "provenance.json").read_text())
