"""Checks that run something: a short job of the shape of a training, or one process here."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from collections.abc import Iterator
from typing import Any

from melanoma.cluster import needs
from melanoma.config import Experiment
from melanoma.doctor.findings import Finding, error, ok, warning
from melanoma.doctor.surroundings import TIMED_OUT, Answer, Surroundings

WAIT_SECONDS = 300


def check_job(experiment: Experiment, here: Surroundings, *, cluster: bool) -> Iterator[Finding]:
    """Start one rank per GPU as a training does, and compare what each of them sees."""
    token = f".doctor-{secrets.token_hex(8)}"
    (here.folder / token).touch()
    try:
        program = [sys.executable, "-m", "melanoma.doctor.probe", str(here.folder), token]
        prefix = srun(experiment, here) if cluster else []
        answer = here.run([*prefix, *program], WAIT_SECONDS)
    finally:
        (here.folder / token).unlink(missing_ok=True)
    ranks = list(_read(answer))
    if not ranks:
        yield _nothing(answer, cluster)
        return
    yield from judge(ranks, experiment, cluster=cluster)


def srun(experiment: Experiment, here: Surroundings) -> list[str]:
    """The command that starts a test job of the shape of a training."""
    training, profile = experiment.training, here.profile
    asked = needs.train(experiment, site=profile.site) | dict(profile.rules.get("train", {}))
    options = {
        "account": profile.account,
        "partition": asked["slurm_partition"],
        "qos": profile.qos or asked.get("qos"),
        "reservation": profile.reservation,
        "gres": asked["gres"],
        "nodes": training.nodes,
        "ntasks-per-node": max(training.gpus_per_node, 1),
        "cpus-per-task": 1,
        # Imports torch once a rank; less than a training needs, so that it starts sooner.
        "mem": needs.IMPORTS_MB * max(training.gpus_per_node, 1) + needs.CUDA_MB,
        "time": 5,
        "immediate": WAIT_SECONDS - 60,
    }
    told = [f"--{name}={value}" for name, value in options.items() if value]
    return ["srun", *told, *shlex.split(profile.site.extra)]


def _read(answer: Answer) -> Iterator[dict[str, Any]]:
    for line in answer.out.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _nothing(answer: Answer, cluster: bool) -> Finding:
    said = (answer.err.strip().splitlines() or ["no output"])[-1]
    if answer.status == TIMED_OUT or "immediate" in answer.err or "resources busy" in answer.err:
        return warning(
            f"the test job didn't start within {WAIT_SECONDS} s",
            "the cluster is busy: try again later, or look at `squeue --start`",
        )
    cure = (
        "the nodes must see this folder and this environment (the same path), and allow the job"
        if cluster
        else "run `make env` again"
    )
    return error(f"the test job failed (status {answer.status}): {said}", cure)


def judge(
    ranks: list[dict[str, Any]], experiment: Experiment, *, cluster: bool
) -> Iterator[Finding]:
    """Turn what the ranks found into findings."""
    training = experiment.training
    hosts = sorted({each["host"] for each in ranks})
    if cluster:
        yield _started(len(ranks), training.ranks, hosts)
        blind = sorted({each["host"] for each in ranks if not each["shared"]})
        if blind:
            yield error(
                f"this folder isn't visible on {', '.join(blind)}",
                "work in a folder of a shared file system (not /tmp or a local disk)",
            )
        else:
            yield ok(f"this folder is visible on {', '.join(hosts)}")
        apart = [each for each in ranks if each["met"]]
        if apart:
            yield error(
                f"rank {apart[0]['rank']} on {apart[0]['host']} couldn't meet the others: "
                f"{apart[0]['met']}",
                "node names must resolve, and ports above 15000 be open, between the nodes",
            )
        elif len(ranks) > 1:
            yield ok(f"{len(ranks)} ranks reached one another")
    if training.gpus_per_node and training.accelerator != "cpu":
        yield _cuda(ranks, training.gpus_per_node, cluster=cluster)


def _started(found: int, wanted: int, hosts: list[str]) -> Finding:
    what = f"{found} of {wanted} ranks started on {', '.join(hosts)}"
    if found == wanted:
        return ok(what)
    return error(what, "see the messages of srun; training.nodes or gpus_per_node may not fit")


def _cuda(ranks: list[dict[str, Any]], gpus: int, *, cluster: bool) -> Finding:
    without = [each for each in ranks if each["gpus"] < (gpus if cluster else 1)]
    first = ranks[0]
    what = f"torch {first['torch']}, built for CUDA {first['built_for']}"
    if not without:
        return ok(f"{what}, sees {first['gpus']} x {first['name']} on each node")
    cure = (
        "the driver must be new enough for that CUDA version (see nvidia-smi on the node), and "
        "the GPUs be given to the job"
    )
    seen = f"{what}, sees {without[0]['gpus']} GPUs on {without[0]['host']}"
    return error(seen, cure) if cluster else warning(seen, f"{cure}; else training uses the CPU")
