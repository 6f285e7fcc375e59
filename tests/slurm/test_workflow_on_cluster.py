"""The whole workflow on the cluster, by the bare command: what was submitted, and what it cost."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from flow import Flow, flow_in, micro_config, table

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]

ARRAYS = ("inspect", "remove_hair")
"""Rules whose shards all become ready at once; those of resize do so one after the other."""
ON_GPU = ("predict", "predict_changed", "gradcam")
SUBMITTED = {
    *ARRAYS,
    *ON_GPU,
    *(
        "train",
        "resize",
        "gather_inspect",
        "catalogue",
        "split",
        "pack",
        "sheets",
        "calibrate",
        "combine",
        "skin_tone",
        "metadata",
    ),
    *("evaluate", "figures", "training_curves", "compare", "comparison_figure", "provenance"),
}
"""All rules but those that fetch files, which run on the submit host."""


@pytest.fixture(scope="module")
def flow(slurm: Cluster, archive_folder: Path) -> Iterator[Flow]:
    """A finished run of everything, with a training on four GPUs."""
    with flow_in(slurm, micro_config(archive_folder)) as flow:
        assert flow.run() == 0, flow.said()[-5000:]
        yield flow


def test_everything_is_made(flow: Flow) -> None:
    metrics = json.loads((flow.results / "evaluation/fusion/metrics.json").read_text())
    assert 0 <= metrics["test"]["balanced_accuracy"] <= 1
    assert (flow.results / "gradcam/index.html").stat().st_size > 0
    assert flow.is_done("fusion")
    assert [row["epoch"] for row in table(flow.fold("fusion") / "history.csv")] == ["0", "1"]
    assert flow.restarts("fusion") == []


def test_all_rules_are_submitted_and_succeed_at_once(flow: Flow) -> None:
    jobs = flow.jobs()
    assert {job.rule for job in jobs} == SUBMITTED
    assert {(job.state, job.restarts) for job in jobs} == {("COMPLETED", 0)}


def test_train_is_one_job_with_a_task_for_each_of_four_gpus(flow: Flow) -> None:
    (job,) = flow.jobs("train")
    assert job.gres == "gpu:4"
    assert (job.fields["NumTasks"], job.fields["NumNodes"]) == ("4", "1")
    (ranks,) = flow.started("fusion").values()
    assert sorted(rank["SLURM_PROCID"] for rank in ranks) == ["0", "1", "2", "3"]
    assert {(rank["SLURM_NTASKS"], rank["SLURMD_NODENAME"]) for rank in ranks} == {
        ("4", job.fields["NodeList"])
    }
    assert len(set(flow.digests("fusion", 1))) == 1
    assert len(flow.digests("fusion", 1)) == 4


def test_shards_are_tasks_of_arrays(flow: Flow) -> None:
    for rule in ARRAYS:
        tasks = flow.jobs(rule)
        assert len(tasks) == 2
        assert all(task.is_array_task for task in tasks)
        assert len({task.id.split("_")[0] for task in tasks}) == 1
    assert len(flow.jobs("resize")) == 2
    others = [job for job in flow.jobs() if job.rule not in (*ARRAYS, "resize")]
    assert not any(job.is_array_task for job in others)


def test_predictions_and_heat_maps_have_one_gpu_and_the_rest_none(flow: Flow) -> None:
    for job in flow.jobs():
        expected = 4 if job.rule == "train" else int(job.rule in ON_GPU)
        assert job.gpus == expected, job.rule
        if job.rule != "train":
            assert (job.fields["NumTasks"], job.fields["NumCPUs"]) == ("1", "1"), job.rule


def test_what_a_job_costs_beyond_its_own_command(flow: Flow) -> None:
    """Measured in CPU time, in units of a start of Snakemake for one job on this machine.

    Two starts, which cost up to a quarter more where other work fills the cores; not three.
    """
    on_cluster = [sum(seconds) for job, seconds in flow.cpu_seconds().items() if job]
    assert len(on_cluster) == len(flow.jobs())
    before = sum(flow.cpu_seconds()[""])
    for _ in range(3):
        assert flow.run("--forcerun", "split", "--", "results/splits.csv", executor=False) == 0
    alone = (sum(flow.cpu_seconds()[""]) - before) / 3
    starts = statistics.median(on_cluster) / alone
    print(f"a job costs {starts:.2f} starts of Snakemake, which take {alone:.2f} s")
    assert starts <= 2.7
