"""The micro configuration again and again in one folder, killed at random: nothing may grow.

    PYTHONPATH=tests python tests/robustness/soak.py FOLDER --rounds 20

Each round begins without results, with two kills at random moments of its own and the same command
again until it is done. FOLDER/soak.csv has a row for each round, from which a later call goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from comparing import differences, leftovers
from kill_rules import TARGETS, append, configure, prepare
from killing import MODES, Run, durations, kill_on_the_way

from melanoma.files import read_rows

COLUMNS = (
    *("round", "commands", "seconds", "peak_mb", "main_mb", "handles", "temporary", "shared"),
    *("leftovers", "results", "differences"),
)
"""peak_mb: resident memory of all processes of a command; main_mb and handles: of Snakemake itself;
temporary and shared: files in the temporary folder and in /dev/shm; results: files under results/.
"""

KILLS = 2
FLAT = 1.15
"""Largest ratio of the last rounds' mean to the first ones' that counts as noise."""

EDGE = 5
"""Rounds that are averaged at each end."""


@dataclass
class Peak:
    """The most that a command's processes held, sampled while it runs."""

    all_mb: float = 0.0
    main_mb: float = 0.0
    handles: int = 0

    def watch(self, run: Run, ended: threading.Event) -> None:
        """Sample until the event comes."""
        while not ended.wait(0.2):
            with contextlib.suppress(psutil.Error):
                main = psutil.Process(run.process.pid)
                own = main.memory_info().rss / 1e6
                self.main_mb = max(self.main_mb, own)
                self.handles = max(self.handles, main.num_fds())
                inner = sum(p.memory_info().rss for p in main.children(recursive=True)) / 1e6
                self.all_mb = max(self.all_mb, own + inner)


def main() -> int:
    """Run until there are enough rounds; the exit status tells whether all stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    prepare(options.folder)
    temporary = options.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)
    working = options.folder / "soak"
    if not working.exists():
        configure(options.folder, working)
    while len(read_rows(options.folder / "soak.csv")) < options.rounds:
        one_round(options.folder, working)
    return report(read_rows(options.folder / "soak.csv"))


def one_round(folder: Path, working: Path) -> None:
    """Make everything anew in the same folder, with kills."""
    for made in ("results", "resources"):
        shutil.rmtree(working / made, ignore_errors=True)
    number = len(read_rows(folder / "soak.csv"))
    draw = random.Random(number)
    typical = durations(folder / "reference")
    todo = {rule: draw.choice(MODES) for rule in draw.sample(sorted(typical), KILLS)}
    began, peak, commands, status = time.monotonic(), Peak(), 0, 1
    while status != 0:
        with Run(working, folder / "soak.log", *TARGETS) as run:
            ended = threading.Event()
            watcher = threading.Thread(target=peak.watch, args=(run, ended))
            watcher.start()
            kill_on_the_way(run, todo, lambda rule: draw.uniform(0, typical[rule]), lambda *_: None)
            status = run.process.wait()
            ended.set()
            watcher.join()
        commands += 1
    row = (
        *(number, commands, round(time.monotonic() - began), round(peak.all_mb)),
        *(round(peak.main_mb), peak.handles, left(folder / "tmp"), count(Path("/dev/shm"))),
        *(len(leftovers(working)), count(working / "results")),
        len(differences(folder / "reference", working)),
    )
    append(folder / "soak.csv", COLUMNS, row)


def left(temporary: Path) -> int:
    """Files and folders but what killed Snakemakes leave: empty folders, a scheduler's files."""
    folders = [path for path in temporary.glob("snakemake*") if not any(path.iterdir())]
    return count(temporary) - len(folders) - len(list(temporary.glob("*-pulp.*")))


def count(folder: Path) -> int:
    """Files and folders in a folder, at any depth."""
    return sum(1 for _ in folder.rglob("*"))


def report(rows: list[dict[str, str]]) -> int:
    """Print the first and the last rounds' means."""
    grown = []
    for name in COLUMNS[3:]:
        first, last = (
            sum(float(row[name]) for row in part) / len(part)
            for part in (rows[:EDGE], rows[-EDGE:])
        )
        grows = last > FLAT * first + 0.5
        grown += [name] if grows else []
        print(f"{name}: {first:.1f} in the first rounds, {last:.1f} in the last")
    commands = sum(int(row["commands"]) for row in rows)
    wrong = sum(int(row["differences"]) > 0 for row in rows)
    print(f"{len(rows)} rounds, {commands} commands, {wrong} with results unlike the reference's")
    print(f"grown: {', '.join(grown) or 'nothing'}")
    return 1 if grown or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
