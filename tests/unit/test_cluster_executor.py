from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from melanoma import cluster
from melanoma.cluster import executor
from melanoma.training.starts import Outlook

SQUEUE = "squeue --format='%i|%T' --states=all --noheader --name x"


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, text: str) -> None:
        self.said.append(text)

    error = warning


def test_min_job_age_is_remembered_through_an_outage() -> None:
    answers = iter([None, 300, None, None])
    ask = executor._Remembered(lambda: next(answers))
    assert [ask() for _ in range(4)] == [None, 300, 300, 300]


def job(number: str) -> Any:
    return SimpleNamespace(external_jobid=number)


def checks(active: list[str], answers: list[Any], command: str = SQUEUE) -> list[Any]:
    """What the executor is told in a row of status checks of the same jobs."""
    given = iter(answers)

    async def query(command: str, logger: Any) -> Any:
        answer = next(given)
        return answer, None if answer is None else 0.1

    states = executor._States(query)
    told: list[Any] = []

    async def check(executor: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        told.append((await states(command, None))[0])
        for each in active_jobs:
            yield each

    async def all_checks() -> None:
        watched = states.watching(check)
        for _ in answers:
            jobs = [job(number) for number in active]
            assert [each async for each in watched(None, jobs)] == jobs

    asyncio.run(all_checks())
    return told


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        ([{"1": "RUNNING"}, {}], {}),
        ([{"1": "RUNNING"}, {}, {}], {"1": "UNKNOWN"}),
        ([{}, {"1": "PENDING"}, {}], {}),
        ([{}, None, {}], {"1": "UNKNOWN"}),
        ([{"1": "PREEMPTED"}, {"1": "PENDING"}], {"1": "PENDING"}),
        ([{"1": "PREEMPTED"}, {"1": "PREEMPTED"}], {"1": "FAILED"}),
        ([{"1": "RUNNING"}, None, None, None], None),
        ([{"2": "RUNNING"}, {"2": "RUNNING"}], {"1": "UNKNOWN", "2": "RUNNING"}),
    ],
)
def test_jobs_that_slurm_forgot_or_cancelled_are_ended(answers: list[Any], last: Any) -> None:
    assert checks(["1"], answers)[-1] == last


def test_tasks_of_an_array_that_wait_are_not_missing() -> None:
    waiting = [{"7_1": "RUNNING", "7_[2-3]": "PENDING"}] * 3
    assert checks(["7_1", "7_2", "7_3"], waiting)[-1] == waiting[-1]
    started = [{"7_1": "RUNNING"}] * 3
    assert checks(["7_1", "7_2"], started)[-1] == {"7_1": "RUNNING", "7_2": "UNKNOWN"}


def test_what_sacct_says_is_left_alone() -> None:
    assert checks(["1"], [{}, {}, {}], "sacct -X --name x")[-1] == {}


def test_submissions_wait_for_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "OUTAGE_SECONDS", 0)
    answers = iter([False, False, True])
    submission = executor._Submission(lambda: next(answers))
    submitted: list[Any] = []
    running = SimpleNamespace(logger=Log())
    submission.when_answered(lambda executor, job: submitted.append(job))(running, "job")
    assert submitted == ["job"]
    assert next(answers, None) is None
    assert len(running.logger.said) == 1


def test_a_run_that_is_given_up_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    submission = executor._Submission(lambda: False)
    cancelled: list[Any] = []
    submission.given_up(cancelled.append)("executor")
    assert cancelled == ["executor"]
    submitted: list[Any] = []
    submission.when_answered(lambda executor, job: submitted.append(job))(None, "job")
    assert submitted == ["job"]


class FakeJob:
    """A job of Snakemake's, as far as its attempts go."""

    def __init__(self) -> None:
        self.attempt = 1
        self.restart_times = 3
        self.rule = SimpleNamespace(name="train")
        self.wildcards = ["fusion", "0"]


def fail(outlooks: list[Outlook | None]) -> tuple[int, list[str]]:
    """Failures of a job until Snakemake gives it up, and what was said."""
    given = iter(outlooks)
    running = SimpleNamespace(logger=Log())
    handle = executor._Attempts(lambda job: next(given)).judging(lambda executor, job: None)
    failing = FakeJob()
    for number in range(1, len(outlooks) + 1):
        handle(running, failing)
        # As Snakemake's scheduler does.
        if failing.restart_times <= failing.attempt - 1:
            return number, running.logger.said
        failing.attempt += 1
    raise AssertionError("tried again and again")


NOTHING = Outlook(0, "")


@pytest.mark.parametrize(
    ("outlooks", "failures"),
    [
        ([None] * 9, 4),
        ([NOTHING] * 9, 4),
        ([NOTHING, Outlook(0, "planted")], 2),
        ([Outlook(n, "") for n in (1, 2, 2, 3)] + [Outlook(3, "")] * 5, 7),
    ],
    ids=["others", "no progress", "hopeless", "progress"],
)
def test_attempts_are_counted_by_what_they_achieve(
    outlooks: list[Outlook | None], failures: int
) -> None:
    found, said = fail(outlooks)
    assert found == failures
    hopeless = [each for each in outlooks if each and each.hopeless]
    assert said == ["train fusion 0 is not tried again: planted."] * len(hopeless)


def test_a_failure_to_judge_changes_nothing() -> None:
    handle = executor._Attempts(lambda job: 1 / 0).judging(lambda executor, job: None)  # type: ignore[arg-type, return-value]
    failing = FakeJob()
    handle(SimpleNamespace(logger=Log()), failing)
    assert failing.attempt == 1


def fake_plugin() -> Any:
    class Executor:
        def check_active_jobs(self) -> None: ...
        def run_job(self) -> None: ...
        def run_array_jobs(self) -> None: ...
        def cancel(self) -> None: ...
        def handle_job_error(self) -> None: ...
        def handle_job_success(self, job: Any) -> None: ...

    names = ("get_min_job_age", "pending_jobs_for_rule", "query_job_status")
    return SimpleNamespace(**dict.fromkeys(names, print), Executor=Executor)


def test_all_is_mended_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = fake_plugin()
    monkeypatch.setitem(sys.modules, executor.PLUGIN, plugin)
    monkeypatch.setitem(sys.modules, executor.LOCAL, SimpleNamespace())
    before = dict(vars(plugin.Executor))
    cluster.mend_executor()
    done: list[Any] = []
    cluster.follow_jobs(lambda job: None, done.append)
    changed = {name for name, value in vars(plugin.Executor).items() if before[name] is not value}
    assert changed == {
        *("check_active_jobs", "run_job", "run_array_jobs", "cancel", "handle_job_error"),
        "handle_job_success",
    }
    plugin.Executor().handle_job_success("job")
    assert done == ["job"]
    assert plugin.pending_jobs_for_rule(None, "inspect") == 0
    remembered = plugin.get_min_job_age
    cluster.mend_executor()
    assert plugin.get_min_job_age is remembered


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed executor, mended for one test."""
    import snakemake_executor_plugin_slurm as plugin

    for owner in (plugin, plugin.Executor):
        for name, value in list(vars(owner).items()):
            if callable(value) and not name.startswith("__"):
                monkeypatch.setattr(owner, name, value)
    cluster.mend_executor()


@pytest.mark.usefixtures("mended")
def test_arrays_are_submitted_though_more_tasks_wait_for_slots() -> None:
    """With `-j 2`, Snakemake hands over two of six ready jobs, and no more while they run."""
    import snakemake_executor_plugin_slurm as plugin

    class Executor(plugin.Executor):  # type: ignore[misc]
        def __init__(self, waiting: int) -> None:
            dag = SimpleNamespace(ready_jobs=[job_of("inspect")] * waiting)
            self.workflow = SimpleNamespace(dag=dag)
            self.array_jobs = {"inspect"}
            self.max_array_size = 50
            self._main_event_loop = None
            self.logger = SimpleNamespace(debug=lambda text: None, warning=lambda text: None)
            self.submitted: list[int] = []

        def _submit_array_jobs(self, jobs: list[Any]) -> None:
            self.submitted.append(len(jobs))

        def _submit_job(self, job: Any) -> None:
            self.submitted.append(1)

    def job_of(rule: str) -> Any:
        return SimpleNamespace(rule=SimpleNamespace(name=rule), is_group=lambda: False)

    for handed in (1, 2):
        running = Executor(waiting=4)
        running.run_jobs([job_of("inspect") for _ in range(handed)])
        assert running.submitted == [handed]


def test_nothing_is_done_without_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (executor.PLUGIN, executor.LOCAL):
        monkeypatch.setitem(sys.modules, module, None)
    cluster.mend_executor()
    cluster.follow_jobs(lambda job: None, print)


def test_installed_executors_have_what_is_mended() -> None:
    import snakemake_executor_plugin_slurm as plugin
    from snakemake.executors import local
    from snakemake.scheduling.job_scheduler import JobScheduler

    check = plugin.Executor.check_active_jobs
    code = getattr(check, "__wrapped__", check).__code__
    assert {"get_min_job_age", "query_job_status"} <= set(code.co_names)
    jobs = plugin.Executor.run_jobs
    assert "pending_jobs_for_rule" in jobs.__code__.co_names
    for name in ("run_job", "run_array_jobs", "cancel"):
        assert callable(getattr(plugin.Executor, name))
    for name in ("handle_job_error", "handle_job_success"):
        assert callable(getattr(plugin.Executor, name))
        assert callable(getattr(local.Executor, name))
    names = JobScheduler._handle_error.__code__.co_names
    assert names.index("handle_job_error") < names.index("restart_times")
