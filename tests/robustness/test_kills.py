"""SIGKILL in the middle of rules, and the same command again: `kill_rules.py` on a small scale."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from comparing import half_files, leftovers
from killing import Mode, Run, durations, kill_on_the_way
from runs import micro_config, snakemake, write_config

KILLS: list[tuple[str, Mode]] = [
    ("inspect", "run"),
    ("remove_hair", "job"),
    ("pack", "main"),
    ("train", "run"),
    ("gradcam", "run"),
    ("evaluate", "job"),
]
"""In the order in which the rules come."""

TARGETS = ("results/evaluation/fusion/metrics.json", "results/gradcam")
"""All that depends on the killed rules, and not the many figures, which cost more."""

MOST_COMMANDS = 12


@dataclass
class Story:
    """A run that was killed again and again.

    Attributes:
        folder: the working folder.
        log: what all the commands said.
        half: rule -> files that lay half written under their names after its kill.
        second: a second command in the same folder while the first one worked.
    """

    folder: Path
    log: Path
    half: dict[str, list[str]] = field(default_factory=dict)
    second: subprocess.CompletedProcess[str] | None = None


@pytest.fixture(scope="module")
def killed(
    archive_folder: Path, finished_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    folder = tmp_path_factory.mktemp("killed")
    story = Story(folder / "run", folder / "log")
    write_config(story.folder, micro_config(archive_folder))
    typical, todo = durations(finished_run), dict(KILLS)

    def note(rule: str, mode: Mode, after: float) -> None:
        story.half[rule] = half_files(finished_run, story.folder)

    status = 1
    for _ in range(MOST_COMMANDS):
        with Run(story.folder, story.log, *TARGETS) as run:
            # The training that starts again is long enough for a second command to come.
            if "train" not in todo and story.second is None and run.next_job({"train"}):
                story.second = snakemake(story.folder, *TARGETS, check=False)
            kill_on_the_way(run, todo, lambda rule: 0.3 * typical[rule], note)
            status = run.process.wait()
        if status == 0:
            break
    assert status == 0, story.log.read_text()[-3000:]
    return story


def test_every_rule_was_killed(killed):
    assert set(killed.half) == {rule for rule, _ in KILLS}


@pytest.mark.parametrize("rule", [rule for rule, _ in KILLS])
def test_no_kill_left_half_a_file(killed, rule):
    assert killed.half[rule] == []


def test_the_results_are_those_of_an_undisturbed_run(killed, finished_run):
    assert half_files(finished_run, killed.folder) == []
    assert all((killed.folder / target).exists() for target in TARGETS)


def test_nothing_temporary_is_left(killed):
    assert leftovers(killed.folder) == []


def test_a_second_run_in_the_folder_is_refused_while_the_first_works(killed):
    assert killed.second.returncode != 0
    assert "Directory cannot be locked" in killed.second.stdout + killed.second.stderr
