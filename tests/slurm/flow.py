"""The workflow on the test cluster: micro configurations, the bare command, and where it is."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml
from cluster import Cluster, wait_until
from records import Job

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# Checks come sooner than on a real cluster, where a job takes longer.
SOON = (
    "--slurm-init-seconds-before-status-checks=1",
    "--max-status-checks-per-second=10",
    "--latency-wait=30",
)

MICRO: dict[str, Any] = {
    "images": {"size": 32, "shards": 2},
    "model": {"backbone": "resnet18", "pretrained": False},
    "training": {
        "gpus_per_node": 4,
        "accelerator": "cpu",
        "batch_size": 16,
        "max_epochs": 2,
        "freeze_epochs": 1,
        "lr": 1.0e-3,
        "patience": 0,
    },
    "evaluation": {"bootstrap": 50},
    "gradcam": {"per_class": 1},
    "experiments": {"fusion": {}},
}


def micro_config(archive: Path, **changes: Any) -> dict[str, Any]:
    """The micro configuration on a drawn archive, some of its keys replaced."""
    files = {
        "images": f"{archive}/ISIC_2019_Training_Input.zip",
        "ground_truth": f"{archive}/ISIC_2019_Training_GroundTruth.csv",
        "metadata": f"{archive}/ISIC_2019_Training_Metadata.csv",
    }
    return {"data": {"train": files, "test": None}, **MICRO, **changes}


class Flow:
    """A working directory of the workflow, and the Snakemake that runs in it.

    Args:
        folder: working directory.
        cluster: where it submits to.
        config: contents of config/config.yaml.
    """

    def __init__(self, folder: Path, cluster: Cluster, config: dict[str, Any]) -> None:
        self.folder = folder
        self.cluster = cluster
        self.gates = folder / "gates"
        self.log = folder / "snakemake.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._earlier = {job.id for job in cluster.jobs()}
        for path in (folder / "config", folder / "bin", folder / "cpu", self.gates):
            path.mkdir(parents=True, exist_ok=True)
        (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
        command = folder / "bin" / "melanoma"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE}/gated_melanoma.py "$@"\n')
        command.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        environment = self.cluster.environment
        return environment | {
            "PATH": f"{self.folder}/bin:{environment['PATH']}",
            "PYTHONPATH": f"{HERE}/cpu_time:{ROOT}",
            "MELANOMA_TEST_GATES": str(self.gates),
            "MELANOMA_TEST_CPU": str(self.folder / "cpu"),
        }

    def start(self, *arguments: str, executor: bool = True) -> subprocess.Popen[bytes]:
        """Start Snakemake as a user types it, from the checkout."""
        program = Path(sys.executable).with_name("snakemake")
        on_cluster = ("--executor", "slurm", "-j", "8", *SOON) if executor else ()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(program), "--directory", str(self.folder), *on_cluster, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.process

    def run(self, *arguments: str, executor: bool = True, seconds: float = 900) -> int:
        """Run Snakemake to its end and return its exit status."""
        return self.start(*arguments, executor=executor).wait(seconds)

    def kill(self) -> None:
        """End Snakemake at once, as a crash of the submit host does; jobs run on."""
        assert self.process is not None
        for process in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        self.process.wait()

    def said(self) -> str:
        """Everything that Snakemake has printed so far."""
        return self.log.read_text(errors="replace")

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def jobs(self, rule: str | None = None) -> list[Job]:
        """The cluster's jobs since this flow began; with `rule` only those of that rule."""
        return [job for job in self.cluster.jobs(rule) if job.id not in self._earlier]

    # Trainings.

    def open(self, experiment: str, *epochs: int | str) -> None:
        """Let a training go on in some epochs; with none, close every gate before it starts."""
        gate = self.gates / experiment / "open"
        gate.mkdir(parents=True, exist_ok=True)
        for epoch in epochs:
            (gate / str(epoch)).touch()

    def at(self, experiment: str, epoch: int, rank: int = 0, since: float = 0) -> bool:
        """Whether a rank has been in an epoch (since a point in time)."""
        path = self.gates / experiment / "at" / f"{epoch}-{rank}"
        return path.exists() and path.stat().st_mtime > since

    def wait_at(
        self, experiment: str, epoch: int, ranks: int = 1, since: float = 0, seconds: float = 240
    ) -> None:
        """Wait until all ranks of a training are in the middle of an epoch."""
        wait_until(
            lambda: all(self.at(experiment, epoch, rank, since) for rank in range(ranks)),
            seconds,
            f"{experiment} in epoch {epoch}",
        )

    def job_of(self, experiment: str) -> str:
        """Id of the newest SLURM job that trains an experiment."""
        comment = f"rule_train_wildcards_{experiment}_0"
        jobs = [job for job in self.jobs("train") if job.fields["Comment"] == comment]
        return jobs[-1].id

    def started(self, experiment: str) -> dict[str, list[dict[str, str]]]:
        """Processes of a training that were started, by SLURM job."""
        found: dict[str, list[dict[str, str]]] = defaultdict(list)
        for path in (self.gates / experiment / "started").iterdir():
            values = json.loads(path.read_text())
            found[values["SLURM_JOB_ID"]].append(values)
        return found

    def digests(self, experiment: str, epoch: int) -> list[str]:
        """Digest of the model at the end of an epoch, by rank."""
        paths = (self.gates / experiment / "digest").glob(f"{epoch}-*")
        return [path.read_text() for path in sorted(paths)]

    def ended(self, experiment: str) -> list[str]:
        """An "{epoch}-{rank}" for each epoch that a rank has trained to its end."""
        return sorted((self.gates / experiment / "ended").read_text().split())

    def fold(self, experiment: str) -> Path:
        return self.results / "training" / experiment / "fold0"

    def is_done(self, experiment: str) -> bool:
        """Whether all results of a training are there."""
        names = ("model.ckpt", "last.ckpt", "history.csv", "restarts.csv")
        return all((self.fold(experiment) / name).exists() for name in names)

    def restarts(self, experiment: str) -> list[dict[str, str]]:
        """Rows of restarts.csv, of a training that is done or still under way."""
        for path in [self.fold(experiment), *self.fold(experiment).glob("resume-*")]:
            with contextlib.suppress(FileNotFoundError):
                return table(path / "restarts.csv")
        return []

    # What it took.

    def cpu_seconds(self) -> dict[str, list[float]]:
        """CPU time of each process of Snakemake, by SLURM job or task ("" outside of SLURM)."""
        found: dict[str, list[float]] = defaultdict(list)
        for path in (self.folder / "cpu").glob("*.json"):
            entry = json.loads(path.read_text())
            if re.search(r"-m snakemake|bin/snakemake", " ".join(entry["command"][:3])):
                job = "_".join(filter(None, (entry["job"], entry["task"])))
                found[job].append(entry["seconds"])
        return found


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@contextlib.contextmanager
def flow_in(cluster: Cluster, config: dict[str, Any]) -> Iterator[Flow]:
    """A flow in a folder of its own; its Snakemake and its jobs end with it, whatever happens."""
    # Not pytest's own folder, whose long name would be all that logs show of a command.
    with tempfile.TemporaryDirectory(dir=cluster.folder, ignore_cleanup_errors=True) as folder:
        flow = Flow(Path(folder), cluster, config)
        try:
            yield flow
        finally:
            if flow.process is not None and flow.process.poll() is None:
                flow.kill()
            cluster.cancel_all()
