from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from melanoma.cluster import runs
from melanoma.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def squeue(*answers: str | None) -> Callable[[Sequence[str]], Any]:
    """A cluster: what each call of squeue prints (None: no answer); scancel is only listed."""
    given = iter(answers)

    def run(command: Sequence[str]) -> Any:
        run.commands.append(" ".join(command))  # type: ignore[attr-defined]
        answer = next(given) if command[0] == "squeue" else ""
        return subprocess.CompletedProcess(command, answer is None, answer or "", "")

    run.commands = []  # type: ignore[attr-defined]
    return run


def names(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / runs.NOTE).read_text())["names"]
    return found


def test_jobs_of_earlier_runs_are_cancelled_and_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs.time, "sleep", lambda seconds: None)
    assert runs.begin_run(folder, "first", run=squeue()) == []
    cluster = squeue("5\n6\n6\n", None, "6\n7\n", "7\n", "")
    assert runs.begin_run(folder, "second", run=cluster) == ["5", "6", "7"]
    assert cluster.commands == [  # type: ignore[attr-defined]
        (asked := "squeue --noheader --format=%A --name=first"),
        "scancel 5 6",
        *(asked, asked, "scancel 7", asked, asked),
    ]
    assert names(folder) == ["second"]


def test_what_is_left_is_remembered_until_it_is_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "ORPHAN_SECONDS", 0)
    monkeypatch.setattr(runs.time, "sleep", lambda seconds: None)
    runs.begin_run(folder, "first", run=squeue())
    with pytest.raises(InputError, match=r"don't end \(5\)"):
        runs.begin_run(folder, "second", run=squeue("5\n", "5\n"))
    with pytest.raises(InputError, match="SLURM doesn't say"):
        runs.begin_run(folder, "third", run=squeue(None, None))
    assert names(folder) == ["first", "second", "third"]
    cluster = squeue("")
    runs.begin_run(folder, "fourth", run=cluster)
    assert cluster.commands[0].endswith("--name=first,second,third")  # type: ignore[attr-defined]
    assert names(folder) == ["fourth"]


def test_without_slurm_nothing_is_asked(folder: Path) -> None:
    cluster = squeue()
    for _ in range(2):
        assert runs.begin_run(folder, "", run=cluster) == []
    assert cluster.commands == []  # type: ignore[attr-defined]
    runs.begin_run(folder, "first", run=cluster)

    def missing(command: Sequence[str]) -> Any:
        raise FileNotFoundError(command[0])

    assert runs.begin_run(folder, "", run=missing) == []
