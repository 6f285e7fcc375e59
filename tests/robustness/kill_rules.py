"""SIGKILL at random moments inside every rule, and the same command again until the run is done.

    PYTHONPATH=tests python tests/robustness/kill_rules.py FOLDER --kills 60

FOLDER gets the reference (an undisturbed run), one working folder for each pass and the tally,
from which a later call of the same command goes on. A pass runs the whole workflow, killing each
rule once; at its end the results must equal the reference's, file for file, and after each kill
no file may lie there half written under its final name.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from comparing import differences, half_files, leftovers
from killing import MODES, Mode, Run, durations, kill_on_the_way
from runs import draw_archive, micro_config, snakemake, write_config

from melanoma.files import read_rows

KILLS = ("pass", "rule", "mode", "after", "typical", "half_files")
"""kills.csv: seconds after the job's start, the rule's typical seconds, files left half written."""

PASSES = ("pass", "kills", "commands", "failed", "differences", "leftovers", "seconds")
"""passes.csv: commands it took, those that ended in a failure, files unlike the reference's."""

TARGETS = ("all", "results/official")
"""So that every rule has a job."""

RETRIES = 5
"""Commands of a pass that do rules once more whose jobs were too short to be killed."""

MOST_COMMANDS = 150
"""More commands than this in one pass mean that it does not end."""


def main() -> int:
    """Kill until there are enough; the exit status tells whether every pass ended right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    prepare(options.folder)
    while len(read_rows(options.folder / "kills.csv")) < options.kills or unfinished(
        options.folder
    ):
        one_pass(options.folder)
    return report(options.folder)


def prepare(folder: Path) -> None:
    """The archive, pretrained weights and the undisturbed run."""
    archive, weights = folder / "archive", folder / "net.pth"
    if not archive.exists():
        draw_archive(archive)
    if not weights.exists():
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    reference = folder / "reference"
    if not (reference / "results" / "provenance.json").exists():
        configure(folder, reference)
        snakemake(reference, *TARGETS)


def configure(folder: Path, working: Path) -> None:
    """The micro configuration, with pretrained weights, so that every rule has a job."""
    values: dict[str, Any] = micro_config(folder / "archive")
    model = {**values["model"], "pretrained": True, "weights": str(folder / "net.pth")}
    write_config(working, {**values, "model": model})


def unfinished(folder: Path) -> bool:
    """Whether the last pass was begun and not ended."""
    kills, passes = read_rows(folder / "kills.csv"), read_rows(folder / "passes.csv")
    return bool(kills) and int(kills[-1]["pass"]) >= len(passes)


def one_pass(folder: Path) -> None:
    """Run the workflow to its end, killing every rule once."""
    number = len(read_rows(folder / "passes.csv"))
    working, log = folder / f"pass{number}", folder / f"pass{number}.log"
    if not working.exists():
        configure(folder, working)
    typical = durations(folder / "reference")
    killed = [row for row in read_rows(folder / "kills.csv") if int(row["pass"]) == number]
    done = {row["rule"] for row in killed}
    # Each rule in another way in each pass.
    modes = {rule: MODES[(number + i) % len(MODES)] for i, rule in enumerate(sorted(typical))}
    todo = {rule: mode for rule, mode in modes.items() if rule not in done}
    draw = random.Random(f"{number} {len(killed)}")

    def moment(rule: str) -> float:
        return draw.uniform(0.0, typical[rule])

    def note(rule: str, mode: Mode, after: float) -> None:
        half = half_files(folder / "reference", working)
        row = (number, rule, mode, f"{after:.3f}", f"{typical[rule]:.3f}", " ".join(half))
        append(folder / "kills.csv", KILLS, row)

    began, statuses = time.monotonic(), []

    def command(*arguments: str) -> int:
        with Run(working, log, *TARGETS, *arguments) as run:
            kill_on_the_way(run, todo, moment, note)
            statuses.append(run.process.wait())
        return statuses[-1]

    missed = 0
    while len(statuses) < MOST_COMMANDS:
        if command() == 0:
            if not todo or missed == RETRIES:
                break
            # Jobs that had ended before their moment came.
            missed += 1
            once_more = ("--forcerun", *todo, "--until", *todo)
            while command(*once_more) != 0 and len(statuses) < MOST_COMMANDS:
                pass
    wrong = differences(folder / "reference", working)
    left = leftovers(working)
    kills = sum(int(row["pass"]) == number for row in read_rows(folder / "kills.csv"))
    failed = sum(status > 0 for status in statuses)
    row = (number, kills, len(statuses), failed, " ".join(wrong), " ".join(left))
    append(folder / "passes.csv", PASSES, (*row, round(time.monotonic() - began)))
    if not wrong and statuses[-1] == 0:
        shutil.rmtree(working)


def report(folder: Path) -> int:
    """Print the tally."""
    kills, passes = read_rows(folder / "kills.csv"), read_rows(folder / "passes.csv")
    rules = {row["rule"] for row in kills}
    least = min(sum(row["rule"] == rule for row in kills) for rule in rules)
    half = [row for row in kills if row["half_files"]]
    wrong = [row for row in passes if row["differences"]]
    left = [row for row in passes if row["leftovers"]]
    commands = sum(int(row["commands"]) for row in passes)
    modes = ", ".join(f"{sum(row['mode'] == mode for row in kills)} {mode}" for mode in MODES)
    print(
        f"{len(kills)} kills inside {len(rules)} rules, at least {least} in each ({modes}); "
        f"{commands} commands in {len(passes)} passes. Half-written files after a kill: "
        f"{len(half)}; passes whose results differ from the undisturbed run's: {len(wrong)}; "
        f"passes that left temporary files: {len(left)}."
    )
    return 1 if half or wrong else 0


def append(path: Path, columns: tuple[str, ...], row: tuple[object, ...]) -> None:
    """Add a row to a tally."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if is_new:
            writer.writerow(columns)
        writer.writerow(row)


if __name__ == "__main__":
    sys.exit(main())
