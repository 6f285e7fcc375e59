"""What clusters do to trainings: each of these is struck by a fault, and ends as if it weren't.

One run of Snakemake trains them all, and the tests look at what has become of them. A training
stops in the middle of an epoch until the test lets it go on, so that it is struck there.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, wait_until
from flow import Flow, flow_in, micro_config, table

from melanoma.training.starts import NO_NOTICE

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]

EPOCHS = 3
OUTAGE_SECONDS = 60.0


def shape(nodes: int, gpus: int, *, image: bool = False) -> dict[str, Any]:
    """An experiment of its own shape; without images it takes no time."""
    return {"model": {"image": image}, "training": {"nodes": nodes, "gpus_per_node": gpus}}


EXPERIMENTS = {
    "killed": shape(2, 2, image=True),
    "requeued": shape(2, 1),
    "cancelled": shape(1, 1),
    "lost": shape(1, 1),
    "limited": shape(1, 1),
    "orphaned": shape(1, 1),
    "broken": shape(1, 1),
}
SURVIVORS = [name for name in EXPERIMENTS if name != "broken"]
STRUCK = ("killed", "requeued", "cancelled")
"""Those that are struck at the same time, on whatever nodes they are."""

COMMAND = (
    *("--set-resources", "train:mem_mb=400"),
    # A warning later than the workflow's, since the time limits are short; and the node that is
    # lost is another one than that of the training with time limits.
    "train:slurm_extra='--signal=USR1@60' + {'lost': ' --nodelist=node2', 'limited':"
    " ' --nodelist=node1'}.get(wildcards.experiment, '')",
    "--",
    *(f"results/training/{name}/fold0/model.ckpt" for name in EXPERIMENTS),
)


class Faults:
    """Strikes a run with all faults, one after the other, and remembers when."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.cluster = flow.cluster
        self.status = 0
        self.began = 0.0
        self.took: dict[str, float] = {}
        self.controller_is_back = False

    def strike(self) -> None:
        flow = self.flow
        made = ("results/splits.csv", "results/images/train/lines-crop-32.json")
        assert flow.run("--", *made, executor=False) == 0
        for name in EXPERIMENTS:
            flow.open(name, 0)
        self.kill_snakemake()
        with ThreadPoolExecutor(1) as pool:
            limited = pool.submit(self.limit)
            self.strike_trainings()
            self.stop_controller()
            self.lose_node()
            self.preempt()
            limited.result()
        assert flow.process is not None
        self.status = flow.process.wait(400)

    def wait_at(self, names: list[str], epoch: int, since: float) -> None:
        for name in names:
            training = EXPERIMENTS[name]["training"]
            ranks = training["nodes"] * training["gpus_per_node"]
            self.flow.wait_at(name, epoch, ranks, since)

    def kill_snakemake(self) -> None:
        """Kill Snakemake while all train; the same command goes on, without what ended since."""
        flow = self.flow
        flow.start(*COMMAND)
        self.wait_at(list(EXPERIMENTS), 1, 0)
        flow.kill()
        flow.open("orphaned", 1, 2)
        wait_until(lambda: flow.is_done("orphaned"), 60, "the orphan has ended")
        flow.open("broken", "broken")
        self.began = time.time()
        flow.start(*COMMAND)
        self.wait_at([*STRUCK, "lost"], 1, self.began)
        self.took["snakemake killed"] = time.time() - self.began

    def strike_trainings(self) -> None:
        flow = self.flow
        struck = time.time()
        self.cluster.kill_rank(flow.job_of("killed"), 3)
        self.cluster.run("scontrol", "requeue", flow.job_of("requeued"))
        self.cluster.run("scancel", flow.job_of("cancelled"))
        for name in STRUCK:
            self.wait_at([name], 1, struck)
            self.took[name] = time.time() - struck
            flow.open(name, 1)

    def stop_controller(self) -> None:
        """The controller is away for a minute, in which trainings end.

        Between the two time limits: one that passes in the outage comes without a warning before.
        """
        flow = self.flow
        self.wait_at(list(STRUCK), 2, 0)
        flow.wait_at("limited", 2, since=self.began, seconds=500)
        self.cluster.stop_controller()
        end = time.monotonic() + OUTAGE_SECONDS
        for name in STRUCK:
            flow.open(name, 2)
        wait_until(lambda: all(flow.is_done(name) for name in STRUCK), 60, "trained in the outage")
        wait_until(lambda: time.monotonic() > end, OUTAGE_SECONDS + 1, "the end of the outage")
        self.cluster.start_controller()
        self.controller_is_back = True

    def lose_node(self) -> None:
        flow = self.flow
        job = flow.job_of("lost")
        node = self.cluster.job(job).nodes[-1]
        struck = time.time()
        self.cluster.lose_node(node)
        self.cluster.set_node_down(node)
        self.cluster.wait_for_state(job, "PENDING", "RUNNING")
        self.cluster.resume_node(node)
        self.wait_at(["lost"], 1, struck)
        self.took["node lost"] = time.time() - struck

    def preempt(self) -> None:
        """A more urgent job takes the node, with a time of grace that the training doesn't need."""
        flow = self.flow
        struck = time.time()
        urgent = ("--partition=urgent", "--nodelist=node2", f"--gres=gpu:{self.cluster.gpus}")
        job = self.cluster.sbatch(*urgent, "--output=/dev/null", script="true", cwd=flow.folder)
        self.cluster.wait_for_state(job, seconds=120)
        self.wait_at(["lost"], 1, struck)
        self.took["preempted"] = time.time() - struck
        flow.open("lost", 1, 2)

    def limit(self) -> None:
        """Two time limits: one lets the epoch end, the other comes in the middle of the next."""
        flow = self.flow
        log = flow.folder / "logs/train/limited/fold0.log"
        self.wait_at(["limited"], 1, self.began)
        self.set_limit()
        wait_until(lambda: "SIGUSR1: stopping" in read(log), 300, "the warning before the limit")
        flow.open("limited", 1)
        self.wait_at(["limited"], 2, self.began)
        wait_until(lambda: self.controller_is_back, 500, "the controller back")
        self.set_limit()
        wait_until(lambda: len(limits(flow)) > 1, 300, "the second time limit")
        ended = time.time()
        wait_until(lambda: flow.at("limited", 2, since=ended), 200, "another start")
        self.took["time limit"] = time.time() - ended
        flow.open("limited", 2)

    def set_limit(self) -> None:
        """Have the time limit of a job come in two minutes or so.

        SLURM counts in minutes and looks twice a minute: the warning may be late by half a minute.
        """
        job = self.flow.job_of("limited")
        hours, minutes, seconds = map(int, self.cluster.job(job).fields["RunTime"].split(":"))
        limit = hours * 60 + minutes + (seconds + 90) // 60 + 1
        self.cluster.run("scontrol", "update", f"JobId={job}", f"TimeLimit={limit}")


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def limits(flow: Flow) -> list[str]:
    """Epochs in which the training with a time limit reached it."""
    return [row["epoch"] for row in flow.restarts("limited") if row["cause"] == "SIGUSR1"]


@pytest.fixture(scope="module")
def faults(slurm: Cluster, archive_folder: Path) -> Iterator[Faults]:
    """A run that was struck by all faults."""
    config = micro_config(archive_folder, experiments=EXPERIMENTS)
    config["training"] = config["training"] | {"max_epochs": EPOCHS}
    with flow_in(slurm, config) as flow:
        struck = Faults(flow)
        try:
            struck.strike()
        except Exception:
            print(flow.said()[-20000:])
            raise
        yield struck


@pytest.mark.parametrize("name", SURVIVORS)
def test_every_epoch_is_trained_once_and_all_results_are_there(faults: Faults, name: str) -> None:
    flow = faults.flow
    assert flow.is_done(name)
    assert not list(flow.fold(name).glob("resume-*"))
    epochs = [row["epoch"] for row in table(flow.fold(name) / "history.csv")]
    assert epochs == [str(epoch) for epoch in range(EPOCHS)]
    # Rank 0 alone, since it ends the others as soon as it has saved an epoch.
    trained = [each.split("-")[0] for each in flow.ended(name) if each.endswith("-0")]
    assert trained == epochs


CAUSES = {
    "killed": [{"SIGTERM", "lost another process"}],
    "requeued": [{"SIGTERM"}],
    "cancelled": [{"SIGTERM"}],
    "lost": [{NO_NOTICE}, {"SIGTERM"}],
    "limited": [{"SIGUSR1"}, {"SIGUSR1"}],
}
"""What may be the last causes in restarts.csv: srun ends the others when a rank is killed; the
training of the lost node was preempted in the end."""


@pytest.mark.parametrize("name", CAUSES)
def test_restarts_say_what_happened(faults: Faults, name: str) -> None:
    flow = faults.flow
    rows = flow.restarts(name)
    expected = CAUSES[name]
    for row, causes in zip(rows[-len(expected) :], expected, strict=True):
        assert row["cause"].split(": ")[0] in causes
        assert row["job"]
        assert row["host"].startswith("node")
    log = read(flow.folder / f"logs/train/{name}/fold0.log")
    assert f"an earlier start ended on {rows[-1]['host']}" in log
    assert "resuming after epoch" in log


@pytest.mark.parametrize("name", ["killed", "requeued", "orphaned"])
def test_all_ranks_of_a_start_run_on_their_nodes_and_end_alike(faults: Faults, name: str) -> None:
    flow, training = faults.flow, EXPERIMENTS[name]["training"]
    nodes, gpus = training["nodes"], training["gpus_per_node"]
    for job, ranks in flow.started(name).items():
        record = flow.cluster.job(job)
        assert (record.fields["NumNodes"], record.fields["NumTasks"]) == (
            str(nodes),
            str(nodes * gpus),
        )
        starts = Counter((rank["SLURM_PROCID"], rank["SLURMD_NODENAME"]) for rank in ranks)
        # A job that was requeued starts its ranks once more.
        assert set(starts.values()) == {record.restarts + 1}
        assert {int(rank["SLURM_PROCID"]) for rank in ranks} == set(range(nodes * gpus))
        for node in {rank["SLURMD_NODENAME"] for rank in ranks}:
            there = {rank["SLURM_PROCID"] for rank in ranks if rank["SLURMD_NODENAME"] == node}
            assert len(there) == gpus
    digests = flow.digests(name, EPOCHS - 1)
    assert len(digests) == nodes * gpus
    assert len(set(digests)) == 1


def test_the_same_command_goes_on_after_snakemake_was_killed(faults: Faults) -> None:
    said = faults.flow.said()
    assert "its lock is removed" in said
    assert "Cancelled SLURM jobs that an earlier run left" in said


def test_time_limits_cost_at_most_the_epoch_in_progress(faults: Faults) -> None:
    assert limits(faults.flow)[-2:] == ["2", "2"]


def test_a_bug_that_fails_every_start_ends_soon_and_says_why(faults: Faults) -> None:
    flow = faults.flow
    assert faults.status == 1
    assert not flow.is_done("broken")
    (reason,) = [line for line in flow.said().splitlines() if "is not tried again" in line]
    assert "train broken 0" in reason
    assert "RuntimeError: planted" in reason
    failed = [row["cause"] for row in flow.restarts("broken") if "planted" in row["cause"]]
    assert len(failed) == 2


def test_half_written_files_are_left_nowhere(faults: Faults) -> None:
    results = faults.flow.results
    assert not [path for path in results.rglob(".*") if ".part" in path.name]


def test_slurm_keeps_the_log_of_failed_jobs(faults: Faults) -> None:
    logs = (faults.flow.folder / ".snakemake/slurm_logs/rule_train/broken_0").glob("*.log")
    last = max(logs, key=lambda path: int(path.stem))
    assert "planted" in last.read_text()


def test_time_to_recover_is_told(faults: Faults) -> None:
    print(json.dumps({name: round(seconds) for name, seconds in faults.took.items()}))
    assert set(faults.took) == {"snakemake killed", "time limit", "node lost", "preempted", *STRUCK}
