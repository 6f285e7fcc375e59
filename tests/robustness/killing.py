"""The workflow as a process that can be killed in the middle of a chosen rule."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import psutil
from runs import ROOT

Mode = Literal["job", "main", "run"]
"""What is killed: the job's process, as the kernel does when memory runs out; Snakemake alone,
which leaves its jobs behind; or all of it, as a power failure does."""

MODES: tuple[Mode, ...] = ("job", "main", "run")

COMMANDS = {
    "train": "train",
    "predict-subset": "predict",
    "predict-changed": "predict_changed",
    "gradcam": "gradcam",
}
"""Subcommand of `melanoma` -> the rule that starts it. The other rules start their scripts."""

_SCRIPT = re.compile(r"\.snakemake/scripts/tmp[^/]*\.(\w+)\.py$")
_POLL = 0.02


@dataclass(frozen=True)
class Job:
    """A running job.

    Attributes:
        rule: its name.
        process: that of its script or command.
    """

    rule: str
    process: psutil.Process


class Run:
    """One `snakemake` command on a working folder; a context manager that leaves none behind.

    Args:
        folder: the working folder.
        log: gets what the command says.
        arguments: of Snakemake.
    """

    def __init__(self, folder: Path, log: Path, *arguments: str) -> None:
        programs = Path(sys.executable).parent
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [str(programs / "snakemake"), "--directory", str(folder), *arguments],
                cwd=ROOT,
                env={**os.environ, "PATH": path},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill("run")
            self.process.wait()

    def jobs(self) -> Iterator[Job]:
        """The jobs that run now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    rule = _rule_of(process.cmdline())
                    if rule:
                        yield Job(rule, process)

    def next_job(self, rules: set[str], *, timeout: float = 300) -> Job | None:
        """Wait for a job of one of some rules; None when the command ends before."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            job = next((job for job in self.jobs() if job.rule in rules), None)
            if job:
                return job
            if time.monotonic() > deadline:
                raise TimeoutError(f"no job of {sorted(rules)} in {timeout} s")
            time.sleep(_POLL)
        return None

    def kill(self, mode: Mode, job: Job | None = None) -> None:
        """SIGKILL."""
        if mode == "main":
            self.process.kill()
        elif mode == "run":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        elif job:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in (*job.process.children(recursive=True), job.process):
                    process.kill()


def kill_within(run: Run, job: Job, after: float, mode: Mode) -> bool:
    """Kill a job some seconds after its start.

    Returns:
        Whether it still ran by then: a kill before it ended, not between two jobs.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        rest = job.process.create_time() + after - time.time()
        time.sleep(max(rest, 0))
        running = job.process.is_running() and job.process.status() != psutil.STATUS_ZOMBIE
        if running:
            run.kill(mode, job)
        return running
    return False


def kill_on_the_way(
    run: Run,
    todo: dict[str, Mode],
    moment: Callable[[str], float],
    note: Callable[[str, Mode, float], None],
) -> None:
    """Kill jobs of some rules as they come, until the run ends, of itself or by this.

    Args:
        run: the command.
        todo: rule -> what to kill when a job of it runs; rules that were killed are removed.
        moment: seconds after its start at which a job of a rule is killed.
        note: told of each kill, with its moment.
    """
    while todo:
        job = run.next_job(set(todo))
        if job is None:
            return
        mode, after = todo[job.rule], moment(job.rule)
        if not kill_within(run, job, after, mode):
            continue
        del todo[job.rule]
        if mode != "job":
            run.process.wait()
        note(job.rule, mode, after)
        if mode != "job":
            return


def durations(folder: Path) -> dict[str, float]:
    """Mean seconds of each rule's jobs, by the benchmarks of a finished run."""
    times: dict[str, list[float]] = {}
    benchmarks = folder / "results" / "benchmarks"
    for path in benchmarks.rglob("*.tsv"):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        with path.open(newline="", encoding="utf-8") as stream:
            times.setdefault(rule, []).extend(
                float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")
            )
    return {rule: sum(values) / len(values) for rule, values in times.items()}


def _rule_of(command: list[str]) -> str:
    """The rule whose job a process is, "" for others (shells, Snakemake itself)."""
    for number, word in enumerate(command):
        script = _SCRIPT.search(word)
        if script:
            return script[1]
        if Path(word).name == "melanoma" and number + 1 < len(command):
            return COMMANDS.get(command[number + 1], "")
    return ""
