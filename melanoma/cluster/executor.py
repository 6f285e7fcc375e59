"""Repairs of Snakemake's SLURM executor: a run neither waits for ever nor tries in vain.

Each was seen with snakemake-executor-plugin-slurm 2.8.0. It is repaired by replacing names that
the executor looks up when it runs; without that executor nothing is done. Snakemake loads it
whether or not it is used.
"""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

PLUGIN = "snakemake_executor_plugin_slurm"
LOCAL = "snakemake.executors.local"

DOUBTS = 2
"""Status checks, ten seconds apart or more, after which a job that isn't there counts as ended."""

OUTAGE_SECONDS = 10.0
"""How often a submission asks whether the controller is back."""
OUTAGE_TRIES = 1_000
"""How often in all, as in the profile's `slurm-status-attempts`: almost three hours."""

States = tuple[dict[str, str] | None, float | None]
"""State by job or task id, and how long the question took; None for both without an answer."""

_log = logging.getLogger(__name__)


class Outlook(Protocol):
    """What becomes of a job that has failed.

    Attributes:
        epochs: how far it has come, over all attempts.
        hopeless: why another attempt would be in vain; "" where it wouldn't.
    """

    @property
    def epochs(self) -> int: ...  # noqa: D102

    @property
    def hopeless(self) -> str: ...  # noqa: D102


def mend_executor() -> None:
    """Let a run of the SLURM executor outlive what clusters do.

    - MinJobAge is asked for once, not before each status check. Without an answer the executor
      takes it for too short and asks `sacct` for the rest of that check, whatever
      `slurm-status-command` says; where accounting is off, that never succeeds.
    - A job that SLURM no longer knows, since it ended more than MinJobAge ago while nobody could
      ask, is taken for ended: its outputs show how. A job of a partition that cancels preempted
      jobs is taken for failed. The executor waits for both for ever.
    - A submission waits until the controller answers, in place of failing. Otherwise an outage of a
      minute uses up the attempts of all that is ready just then.
    - Array jobs are submitted as far as there are slots (`-j`). The executor takes what it could
      submit and waits for the rest to be ready too; that waits for slots, which the former hold.
    """
    plugin = sys.modules.get(PLUGIN)
    if plugin is None or isinstance(plugin.__dict__.get("get_min_job_age"), _Remembered):
        return
    names = plugin.__dict__
    names["get_min_job_age"] = _Remembered(names["get_min_job_age"])
    names["pending_jobs_for_rule"] = lambda dag, rule: 0
    states = _States(names["query_job_status"])
    names["query_job_status"] = states
    executor = names["Executor"]
    executor.check_active_jobs = states.watching(executor.check_active_jobs)
    submission = _Submission()
    executor.run_job = submission.when_answered(executor.run_job)
    executor.run_array_jobs = submission.when_answered(executor.run_array_jobs)
    executor.cancel = submission.given_up(executor.cancel)


def follow_jobs(outlook: Callable[[Any], Outlook | None], done: Callable[[Any], None]) -> None:
    """Look at each job that has ended, with any executor, before Snakemake goes on.

    Attempts are counted by what they achieve: not those that got further, none after a hopeless
    one.

    Args:
        outlook: judges a job of Snakemake's that has just failed; None leaves it to `retries`.
        done: called for each job that has succeeded.
    """
    attempts = _Attempts(outlook)
    for module in (PLUGIN, LOCAL):
        executor = getattr(sys.modules.get(module), "Executor", None)
        if executor is not None:
            executor.handle_job_error = attempts.judging(executor.handle_job_error)
            executor.handle_job_success = _and_then(executor.handle_job_success, done)


def _and_then(handle: Callable[..., None], done: Callable[[Any], None]) -> Callable[..., None]:
    @functools.wraps(handle)
    def wrapper(executor: Any, job: Any) -> None:
        handle(executor, job)
        done(job)

    return wrapper


class _Remembered:
    """Calls a function until it has an answer, and gives that one from then on."""

    def __init__(self, ask: Callable[[], int | None]) -> None:
        self.ask = ask
        self.answer: int | None = None

    def __call__(self) -> int | None:
        if self.answer is None:
            self.answer = self.ask()
            _log.debug("MinJobAge is %s", self.answer)
        return self.answer


class _States:
    """Asks for the states of jobs, and says what became of those that have none."""

    def __init__(self, query: Callable[..., Awaitable[States]]) -> None:
        self.query = query
        self.active: set[str] = set()
        self.doubts: Counter[str] = Counter()

    async def __call__(self, command: str, logger: Any) -> States:
        states, seconds = await self.query(command, logger)
        if states is None or command.split()[:1] != ["squeue"]:
            return states, seconds
        doubtful = {job: _doubtful(job, states) for job in self.active}
        self.doubts = Counter({job: self.doubts[job] + 1 for job, new in doubtful.items() if new})
        # "UNKNOWN" lets the executor look for the outputs.
        ended = {job: doubtful[job] for job, times in self.doubts.items() if times >= DOUBTS}
        return {**states, **ended}, seconds

    def watching(self, check: Callable[..., AsyncIterator[Any]]) -> Callable[..., Any]:
        """The executor's status check, which tells what jobs it is about."""

        @functools.wraps(check)
        async def wrapper(executor: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
            self.active = {str(job.external_jobid) for job in active_jobs if job.external_jobid}
            async for job in check(executor, active_jobs):
                yield job

        return wrapper


def _doubtful(job: str, states: Mapping[str, str]) -> str:
    """The state to take a job for whose own doesn't say that it waits, runs or has ended; or ""."""
    parent = job.split("_", maxsplit=1)[0]
    # Tasks of an array that wait share one line, such as 12_[3-8].
    if job not in states and not any(_is_of(parent, line) for line in states):
        return "UNKNOWN"
    return "FAILED" if states.get(job) == "PREEMPTED" else ""


def _is_of(parent: str, line: str) -> bool:
    return line == parent or line.startswith(f"{parent}_[")


class _Submission:
    """Holds submissions back while the controller doesn't answer, unless the run is given up."""

    def __init__(self, answers: Callable[[], bool] | None = None) -> None:
        self.answers = answers or _controller_answers
        self.over = threading.Event()

    def when_answered(self, submit: Callable[..., None]) -> Callable[..., None]:
        """A method of the executor that submits jobs, once SLURM can take them."""

        @functools.wraps(submit)
        def wrapper(executor: Any, jobs: Any) -> None:
            for number in range(OUTAGE_TRIES):
                if self.over.is_set() or self.answers():
                    break
                if number == 0:
                    executor.logger.warning("SLURM's controller doesn't answer; waiting for it.")
                self.over.wait(OUTAGE_SECONDS)
            submit(executor, jobs)

        return wrapper

    def given_up(self, cancel: Callable[..., None]) -> Callable[..., None]:
        """The executor's method that cancels all jobs."""

        @functools.wraps(cancel)
        def wrapper(executor: Any) -> None:
            self.over.set()
            cancel(executor)

        return wrapper


def _controller_answers() -> bool:
    try:
        done = subprocess.run(
            ["scontrol", "ping"], capture_output=True, check=False, timeout=OUTAGE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    except OSError:
        return True  # not to be found out here; sbatch will say what is wrong
    return done.returncode == 0


class _Attempts:
    """Decides, after each failure of a job, what is left of its attempts."""

    def __init__(self, outlook: Callable[[Any], Outlook | None]) -> None:
        self.outlook = outlook
        self.epochs: dict[Any, int] = {}

    def judging(self, handle: Callable[..., None]) -> Callable[..., None]:
        """The executor's method that is called before Snakemake counts attempts."""

        @functools.wraps(handle)
        def wrapper(executor: Any, job: Any) -> None:
            handle(executor, job)
            try:
                self._judge(executor.logger, job)
            except Exception:  # a failure to judge must not end the whole run
                _log.exception("couldn't judge the attempts of %s", job)

        return wrapper

    def _judge(self, logger: Any, job: Any) -> None:
        found = self.outlook(job)
        if found is None:
            return
        if found.hopeless:
            which = " ".join([job.rule.name, *map(str, job.wildcards)])
            logger.error(f"{which} is not tried again: {found.hopeless}.")
            # All attempts are used up; the first is none of the retries.
            job.attempt = max(job.attempt, job.restart_times + 1)
        elif found.epochs > self.epochs.get(job, 0):
            self.epochs[job] = found.epochs
            # The next attempt is the second again, whose resources are those of all later ones.
            job.attempt = 1
