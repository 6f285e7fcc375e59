"""What this machine or cluster has and lacks for a configuration, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from melanoma.config import Config, Experiment
from melanoma.doctor import deep as deep_checks
from melanoma.doctor import machine, slurm
from melanoma.doctor.findings import Finding, error, failed, ok, render, warning
from melanoma.doctor.surroundings import (
    PROFILE,
    Profile,
    Surroundings,
    read_profile,
)
from melanoma.errors import InputError

__all__ = [
    "Finding",
    "Profile",
    "Surroundings",
    "diagnose",
    "failed",
    "quick",
    "read_profile",
    "render",
    "surroundings",
    "verdict",
]


def surroundings(folder: Path, profile: Path | None = None) -> Surroundings:
    """This machine as the doctor sees it.

    Args:
        folder: working directory of the workflow.
        profile: Snakemake's profile; None takes the workflow's own.

    Raises:
        InputError: the profile that was named isn't there, or is no YAML mapping.
    """
    if profile and not profile.is_file():
        raise InputError(f"{profile}: no such file: name the profile's config.yaml")
    root = Path(__file__).resolve().parents[2]
    return Surroundings(folder.resolve(), read_profile(profile or root / PROFILE))


def diagnose(config: Config, here: Surroundings, *, deep: bool = False) -> list[Finding]:
    """Compare a configuration with this machine and, where there is SLURM, with the cluster.

    Args:
        config: the whole configuration.
        here: see `surroundings`.
        deep: also start a short job of the shape of each training (minutes, where a queue is
            long) and see whether its ranks find the folder, one another and their GPUs.

    Returns:
        Findings, in the order in which a run would meet them.
    """
    cluster = slurm.is_here(here)
    findings = [
        *machine.check_machine(config, here),
        *machine.check_gpu(machine.experiments(config), here, cluster=cluster),
        *machine.check_disk(config, here),
        *machine.check_data(config, here),
        *machine.check_weights(config, here),
    ]
    if cluster:
        findings += _cluster_findings(config, here)
    else:
        findings.append(ok("no SLURM here: everything runs on this machine"))
    if deep and not (cluster and failed(findings)):
        findings += _deep_findings(config, here, cluster=cluster)
    elif deep:
        findings.append(warning("no test job was started", "mend the errors above, then try again"))
    return findings


def _cluster_findings(config: Config, here: Surroundings) -> list[Finding]:
    cluster = slurm.Cluster(here)
    findings = list(slurm.check_commands(here))
    try:
        findings += slurm.check_status(cluster, here.profile)
        findings += slurm.check_partitions(cluster, config, here.profile)
        for experiment in machine.experiments(config):
            findings += slurm.check_training(cluster, experiment, here.profile)
        findings += slurm.check_other_jobs(cluster, config, here.profile)
    except slurm.ControllerError as problem:
        findings.append(
            error(f"SLURM's controller doesn't answer: {problem}", "try again, or ask its admins")
        )
    return findings


def _deep_findings(config: Config, here: Surroundings, *, cluster: bool) -> list[Finding]:
    shapes = {}
    for experiment in machine.experiments(config):
        training = experiment.training
        shapes[training.nodes, training.gpus_per_node, training.accelerator] = experiment
    findings: list[Finding] = []
    for experiment in shapes.values():
        findings += deep_checks.check_job(experiment, here, cluster=cluster)
    return findings


def verdict(findings: Iterable[Finding], here: Surroundings) -> str:
    """What can be run here, in a sentence."""
    if failed(findings):
        return "What is configured cannot run here before the errors are mended; `make demo` can."
    command = "snakemake"
    if not (here.folder / "workflow/Snakefile").is_file():
        command = f"in the workflow's folder, snakemake --directory {here.folder}"
    if slurm.is_here(here):
        return f"Ready for the cluster: {command} --executor slurm -j 8"
    return f"Ready to run on this machine: {command}"


def quick(
    experiment: Experiment, files: Mapping[str, Path | None], output: Path, here: Surroundings
) -> list[Finding]:
    """What costs no time, for the start of a training job: its files, space, and driver.

    Args:
        experiment: what is trained.
        files: what is read, by name (None: not needed).
        output: folder that is written to.
        here: see `surroundings`.

    Returns:
        Findings; an error is reason enough not to start.
    """
    findings = []
    for name, path in files.items():
        if path is not None and not path.is_file():
            findings.append(
                error(f"{name}: {path} isn't there", "is this folder visible on the node?")
            )
    place = next(folder for folder in (output, *output.resolve().parents) if folder.is_dir())
    free = here.free_mb(place)
    if free < machine.RESUME_MB:
        findings.append(error(f"{free:.0f} MB free in {place}", "free at least 1 GB"))
    training = experiment.training
    if training.gpus_per_node and training.accelerator != "cpu":
        findings += machine.check_gpu([experiment], here, cluster=False)
    return findings or [ok(f"files, space and devices on {place}")]
