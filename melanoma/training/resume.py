"""The folder that a training resumes from, and the record of its starts.

It lies beside the results but is no declared output: Snakemake deletes those before it tries a job
again. Its name is a hash of all that decides the result, so that other settings never resume it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import re
import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch.distributed as dist

from melanoma import files
from melanoma.errors import FaultError, InputError
from melanoma.training import TrainingJob, checkpoints
from melanoma.training.checkpoints import Provenance

RESTART_COLUMNS = ("time", "host", "cause", "epoch")
"""When (UTC) and where a start ended before its training did, why, and the epochs done by then."""

STATE_KEY = "melanoma"
"""Where the state to resume from keeps what is this package's own."""

NO_NOTICE = "ended without notice (killed, out of memory, or the node was lost)"
_ERROR = "error: "
_FAULT = "fault of the machine: "
_LOST = "lost another process: "
_LOST_RANK = re.compile(
    r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Timed out|Timeout|Socket", re.I
)
_CAUSE_LENGTH = 300

logger = logging.getLogger(__name__)


def resume_key(job: TrainingJob) -> str:
    """Hash of what decides the result: data, splits, settings, weights and code; 12 hex digits."""
    parts = {
        "store": files.read_json(job.store.with_suffix(".json")).get("sha256"),
        "catalogue": files.sha256_of(job.catalogue),
        "splits": files.sha256_of(job.splits),
        "weights": files.sha256_of(job.weights) if job.weights else None,
        "settings": json.loads(job.experiment.result_settings()),
        "fold": job.fold,
        "code": job.code,
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Progress:
    """How far earlier starts came.

    Attributes:
        epochs: epochs done.
        finished: whether the training is done, be it early.
    """

    epochs: int = 0
    finished: bool = False


class ResumeFolder:
    """What a training keeps between its starts.

    Args:
        path: the folder; made if missing.
        rank: of this process; rank 0 alone writes the shared files.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.path = path
        self._rank = rank
        self.epochs = 0
        path.mkdir(parents=True, exist_ok=True)

    @property
    def state(self) -> Path:
        """The last epoch's whole training state."""
        return self.path / "state.ckpt"

    @property
    def history(self) -> Path:
        """One row for each epoch."""
        return self.path / "history.csv"

    @property
    def restarts(self) -> Path:
        """One row for each start that ended before the training did."""
        return self.path / "restarts.csv"

    @property
    def _running(self) -> Path:
        return self.path / "running.json"

    def best(self, epoch: int) -> Path:
        """The model of an epoch that was the best until then."""
        return self.path / f"best-{epoch}.ckpt"

    def progress(self) -> Progress:
        """How far earlier starts came.

        Raises:
            InputError: the state cannot be read.
        """
        if not self.state.exists():
            return Progress()
        kept = _read_state(self.state)["callbacks"][STATE_KEY]
        return Progress(kept["epochs"], kept["finished"])

    def keep_best(self, epoch: int) -> None:
        """Remove the models of epochs that have been bettered."""
        for path in self.path.glob("best-*.ckpt"):
            if path != self.best(epoch):
                path.unlink(missing_ok=True)

    def begin(self, epochs: int) -> None:
        """Record how the last start ended, and refuse another one that would end the same way.

        Args:
            epochs: done so far.

        Raises:
            InputError: the last two starts ended in the same error, with no epoch between them.
        """
        self.epochs = epochs
        if self._rank:
            return
        for leftover in self.path.glob(".*.part*"):
            leftover.unlink(missing_ok=True)
        if not self.restarts.exists():
            self._write_rows([])
        for path in sorted(self.path.glob("failure-*.json")):
            self._append(files.read_json(path))
            path.unlink()
        if self._running.exists():
            before = files.read_json(self._running)
            self._append({**self._row(NO_NOTICE), "host": before["host"]})
        self._refuse_same_error()
        files.write_json(self._running, self._row("running"))

    def ended(self, cause: str) -> None:
        """Record why this start ends; no more once the training is done."""
        if self._rank or not self.path.exists():
            return
        self._append(self._row(cause))
        self._running.unlink(missing_ok=True)

    def failed(self, error: BaseException) -> None:
        """Record the error that this start ends in; each rank's own, since any may be the cause.

        That another rank was lost is no error of this one's, and a full disk none of the training:
        they are recorded, but never count as the same error again.
        """
        text = " ".join(f"{type(error).__name__}: {error}".split())[:_CAUSE_LENGTH]
        lost = is_lost_rank(error)
        if not self._rank:
            is_fault = isinstance(error, FaultError)
            self.ended((_LOST if lost else _FAULT if is_fault else _ERROR) + text)
        elif not lost:
            row = self._row(_ERROR + text)
            files.write_json(self.path / f"failure-{self._rank}.json", row)

    def rows(self) -> list[dict[str, str]]:
        """The rows of restarts.csv."""
        if not self.restarts.exists():
            return []
        with self.restarts.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    def remove(self) -> None:
        """Remove the folder: the training is done."""
        shutil.rmtree(self.path)

    def _refuse_same_error(self) -> None:
        errors = [row for row in self.rows() if row["cause"].startswith(_ERROR)]
        if len(errors) < 2:
            return
        last, before = errors[-1], errors[-2]
        same = (last["cause"], last["epoch"]) == (before["cause"], before["epoch"])
        if same and last["epoch"] == str(self.epochs):
            raise InputError(
                f"the last two starts of this training ended in the same error, after {self.epochs}"
                f" epochs: {last['cause'].removeprefix(_ERROR)}. It is not started again. Change "
                f"the settings or the code, or mend the cause and remove {self.restarts}"
            )

    def _row(self, cause: str) -> dict[str, str]:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        host = socket.gethostname()
        return {"time": time, "host": host, "cause": cause, "epoch": str(self.epochs)}

    def _append(self, row: dict[str, Any]) -> None:
        self._write_rows([*self.rows(), row])

    def _write_rows(self, rows: list[dict[str, Any]]) -> None:
        with (
            files.atomic(self.restarts) as partial,
            partial.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, RESTART_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error only says that another rank, or the way to it, is gone."""
    kinds = tuple(
        kind
        for name in ("DistError", "DistBackendError", "DistNetworkError", "DistStoreError")
        if (kind := getattr(dist, name, None))
    )
    ended = isinstance(error, RuntimeError | OSError) and _LOST_RANK.search(str(error))
    return isinstance(error, kinds) or bool(ended)


def publish_results(folder: ResumeFolder, output: Path, provenance: Provenance) -> None:
    """Put what a finished training made in its place, each file atomically; remove the folder.

    Args:
        folder: of a training whose state says that it is finished.
        output: gets model.ckpt, last.ckpt, history.csv and restarts.csv.
        provenance: for last.ckpt.
    """
    state = _read_state(folder.state)
    kept = state["callbacks"][STATE_KEY]
    prefix = "model."
    weights = {key.removeprefix(prefix): value for key, value in state["state_dict"].items()}
    last = checkpoints.contents(
        provenance, weights, epoch=kept["epochs"] - 1, metrics=kept["last_metrics"]
    )
    checkpoints.save(output / "last.ckpt", last)
    _copy(folder.best(kept["best_epoch"]), output / "model.ckpt")
    _copy(folder.history, output / "history.csv")
    _copy(folder.restarts, output / "restarts.csv")
    folder.remove()
    logger.info(
        "trained %d epochs; epoch %d is the best: %s",
        kept["epochs"],
        kept["best_epoch"],
        output / "model.ckpt",
    )


def _copy(source: Path, target: Path) -> None:
    with files.atomic(target) as partial:
        shutil.copyfile(source, partial)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = checkpoints.load(path)
    except ValueError as error:
        raise InputError(
            f"{path}: cannot be read ({error}); remove the folder to train from the beginning"
        ) from None
    return state


def other_folders(output: Path, own: Path) -> list[str]:
    """Names of folders left by trainings with other settings that never ended."""
    return sorted(
        entry.name
        for entry in os.scandir(output)
        if entry.is_dir() and entry.name.startswith("resume-") and entry.name != own.name
    )
