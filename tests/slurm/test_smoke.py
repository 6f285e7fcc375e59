"""The test cluster itself: what the other SLURM tests take for granted."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster import Cluster

pytestmark = pytest.mark.slurm

RANK = """\
import os, socket
print(os.environ["SLURMD_NODENAME"], os.environ["SLURM_PROCID"], os.environ["SLURM_NTASKS"])
"""


def test_two_nodes_with_two_gpus_each_run_four_ranks(slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK)
    step = "srun --nodes=2 --ntasks-per-node=2 --cpus-per-task=1 python3 rank.py"
    job = slurm.sbatch(
        *("--partition=gpu", "--gres=gpu:2", "--nodes=2", "--ntasks-per-node=2", "--output=out"),
        # As the executor plugin does: no SLURM_CONF in the job, and a step that must still run.
        script=f"unset SLURM_CONF; {step}",
        cwd=tmp_path,
    )
    record = slurm.wait_for_state(job)
    ranks = sorted((tmp_path / "out").read_text().split("\n")[:-1])
    assert record.state == "COMPLETED"
    assert record.gpus == 4
    assert record.fields["NumTasks"] == "4"
    assert ranks == ["node1 0 4", "node1 1 4", "node2 2 4", "node2 3 4"]
    assert slurm.processes(job=job) == []


def test_one_rank_can_be_killed_and_the_job_requeued(slurm: Cluster, tmp_path: Path) -> None:
    step = "srun --kill-on-bad-exit=1 --nodes=1 --ntasks-per-node=2 sleep 60"
    job = slurm.sbatch(
        *("--nodes=1", "--ntasks-per-node=2", "--output=/dev/null"), script=step, cwd=tmp_path
    )
    slurm.wait_for_rank(job, 1)
    slurm.run("scontrol", "requeue", job)
    assert slurm.wait_for_state(job, "PENDING").restarts == 1
    slurm.wait_for_state(job, "RUNNING")
    slurm.wait_for_rank(job, 1)
    slurm.kill_rank(job, 1)
    assert slurm.wait_for_state(job).state == "FAILED"
    assert slurm.processes(job=job) == []


def test_jobs_outlive_the_controller_and_nodes_come_back(slurm: Cluster, tmp_path: Path) -> None:
    job = slurm.sbatch("--output=/dev/null", "-w", "node2", script="sleep 60", cwd=tmp_path)
    slurm.wait_for_state(job, "RUNNING")
    slurm.stop_controller()
    assert slurm.run("squeue", check=False).returncode != 0
    slurm.start_controller()
    assert slurm.job(job).state == "RUNNING"
    slurm.lose_node("node2")
    slurm.set_node_down("node2")
    assert slurm.wait_for_state(job, "PENDING").restarts == 1
    slurm.run("scancel", job)
    slurm.resume_node("node2")
