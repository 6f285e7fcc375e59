"""The record of a training's starts, in the folder that it resumes from; torch isn't needed for it.

The folder lies beside the results but is no declared output: Snakemake deletes those before it
tries a job again. Its name is a hash of all that decides the result, so that other settings never
resume it. It stays after the training is done, until the submitting Snakemake has taken the results
over: a job may be requeued even then, and finds its outputs deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from melanoma import files, locks
from melanoma.errors import FaultError, InputError
from melanoma.training import TrainingJob, history, signals
from melanoma.wording import counted

RESULTS = ("model.ckpt", "last.ckpt", "history.csv", "restarts.csv")
"""What a training leaves in its output folder."""

RESTART_COLUMNS = ("time", "host", "job", "cause", "epoch")
"""When (UTC), where and in which SLURM job ("" without SLURM) a start ended before its training
did, why, and the epochs done by then."""

NO_NOTICE = "ended without notice (killed, out of memory, or the node was lost)"
TIME_LIMIT = "SIGUSR1"
"""The signal by which a job is warned of its time limit, and the cause of such an end."""

_IN_VAIN = {
    TIME_LIMIT: "reached their time limit (set-resources: train: runtime must allow an epoch)",
    NO_NOTICE: "were killed (is it out of memory? set-resources: train: mem_mb)",
}
"""Causes of an end of which three in one epoch are enough: what is said of them then."""

LOCK_SECONDS = 600.0
"""How long a start waits for another one that still trains in the same folder; longer than a
cancelled job may take to end (SLURM's KillWait, 30 s)."""

_FINISHED = "finished"
_ERROR = "error: "
_FAULT = "fault of the machine: "
_LOST = "lost another process: "
_LOST_KINDS = {"DistError", "DistBackendError", "DistNetworkError", "DistStoreError"}
_LOST_RANK = re.compile(
    r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Timed out|Timeout|Socket", re.I
)
_CAUSE_LENGTH = 300

Row = Mapping[str, str]

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
class Outlook:
    """What becomes of a training that has failed.

    Attributes:
        epochs: epochs done over all starts.
        hopeless: why another start would be in vain; "" where it wouldn't.
    """

    epochs: int
    hopeless: str


class ResumeFolder:
    """What a training keeps between its starts.

    Args:
        path: the folder; made if missing.
        rank: of this process; rank 0 alone writes the shared files.

    Attributes:
        epochs: epochs done so far.
        first: whether no earlier start is known; of rank 0 alone.
        before_end: called before a signal ends the process; must be quick.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.path = path
        self._rank = rank
        self._lock: int | None = None
        self._notice: signals.Notice | None = None
        self.epochs = 0
        self.first = False
        self.before_end: list[Callable[[], None]] = []
        path.mkdir(parents=True, exist_ok=True)

    @classmethod
    def of(cls, job: TrainingJob, rank: int) -> ResumeFolder:
        """The folder of a training."""
        return cls(job.output / f"resume-{resume_key(job)}", rank)

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

    def keep_best(self, epoch: int) -> None:
        """Remove the models of epochs that have been bettered."""
        for path in self.path.glob("best-*.ckpt"):
            if path != self.best(epoch):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[ResumeFolder]:
        """Around a start: record how the last one ended, and the signal or error that ends this.

        Raises:
            InputError: as `begin`.
        """
        try:
            self.begin(len(history.read(self.history)))
            with signals.watch(self._stopped) as self._notice:
                try:
                    yield self
                except Exception as error:
                    self.failed(error)
                    raise
        finally:
            self._unlock()

    def epoch_is_saved(self) -> None:
        """End the process here, if it has been told to end: nothing is lost."""
        if self._notice is not None and not self._rank:
            # Rank 0 alone, since its end is the others' too, and before this it was still writing.
            self._notice.end_if_told()

    def begin(self, epochs: int) -> None:
        """Record how the last start ended, and refuse another one that would end the same way.

        Args:
            epochs: done so far.

        Raises:
            InputError: the last two starts ended in the same error, or at the time limit, with no
                epoch between them; or another process trains in this folder and doesn't end.
        """
        self.epochs = epochs
        if self._rank:
            return
        self._take_lock()
        for leftover in self.path.glob(".*.part*"):
            leftover.unlink(missing_ok=True)
        rows = _all_rows(self.path)
        self.first = not rows and not epochs
        files.write_rows(self.restarts, RESTART_COLUMNS, rows)
        for path in self.path.glob("failure-*.json"):
            path.unlink()
        for row in rows[-1:]:
            logger.info(
                "an earlier start ended on %s after %s: %s",
                *(row["host"], counted(int(row["epoch"]), "epoch"), row["cause"]),
            )
        if reason := _in_vain(rows):
            self._running.unlink(missing_ok=True)
            raise InputError(
                f"{reason}. It is not started again. Change the settings or the code, or mend the "
                f"cause and remove {self.restarts}"
            )
        files.write_json(self._running, self._row("running"))

    def ended(self, cause: str) -> None:
        """Record why this start ends; no more once the training is done."""
        if self._rank or (self.path / _FINISHED).exists():
            return
        rows = [*self.rows(), self._row(cause)]
        files.write_rows(self.restarts, RESTART_COLUMNS, rows)
        self._running.unlink(missing_ok=True)
        self._unlock()

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
        return files.read_rows(self.restarts)

    def finish(self) -> None:
        """Mark the training as done and its results as put in their place."""
        self._running.unlink(missing_ok=True)
        (self.path / _FINISHED).touch()

    def _stopped(self, name: str) -> None:
        if not self._rank:
            logger.warning(
                "%s: stopping after %s, where the next start goes on",
                *(name, counted(self.epochs, "epoch")),
            )
            self.ended(name)
        for each in self.before_end:
            each()

    def _take_lock(self) -> None:
        """Wait until no other process trains here, such as a job that outlives its cancelling."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        end = time.monotonic() + LOCK_SECONDS
        said = False
        while not _locked(lock):
            if not said:
                logger.warning("waiting for another process that trains in %s", self.path)
                said = True
            if time.monotonic() > end:
                os.close(lock)
                raise InputError(
                    f"{self.path}: another process trains here and doesn't end; running.json says "
                    "where: end it (scancel, kill), then start again"
                )
            time.sleep(1)
        self._lock = lock

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _row(self, cause: str) -> dict[str, str]:
        return {
            "time": _now(),
            "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
            "job": os.environ.get("SLURM_JOB_ID", ""),
            "cause": cause,
            "epoch": str(self.epochs),
        }


def tidy(output: Path) -> None:
    """Remove the folders of trainings that are done, where all results are in their place.

    For the process that answers for the results, at a time when nothing is trained there.

    Args:
        output: folder of the results.
    """
    if all((output / name).exists() for name in RESULTS):
        for marker in output.glob(f"resume-*/{_FINISHED}"):
            shutil.rmtree(marker.parent, ignore_errors=True)


def outlook(output: Path, since: float) -> Outlook | None:
    """What becomes of a training that has just failed, judged from outside of it.

    Args:
        output: folder of its results.
        since: time of the epoch, in seconds; folders without a start since then don't count.

    Returns:
        None where no start has left a record, for example since SLURM refused the job.
    """
    recorded = {path.parent: path.stat().st_mtime for path in output.glob("resume-*/restarts.csv")}
    folder = max(recorded, key=lambda each: recorded[each], default=None)
    if folder is None or recorded[folder] < since:
        return None
    epochs = len(history.read(folder / "history.csv"))
    return Outlook(epochs, _in_vain(_all_rows(folder)))


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error only says that another rank, or the way to it, is gone."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    ended = isinstance(error, RuntimeError | OSError) and _LOST_RANK.search(str(error))
    return bool(kinds & _LOST_KINDS) or bool(ended)


def _in_vain(rows: Sequence[Row]) -> str:
    """Why another start would end as the last two did; "" where that isn't known."""
    errors = [row for row in rows if row["cause"].startswith(_ERROR)][-2:]
    if len(errors) == 2 and _same([*errors, {**errors[-1], "epoch": rows[-1]["epoch"]}]):
        cause = errors[-1]["cause"].removeprefix(_ERROR)
        return (
            "the last two starts of this training ended in the same error, after "
            f"{counted(int(rows[-1]['epoch']), 'epoch')}: {cause}"
        )
    last = rows[-3:]
    if len(last) == 3 and _same(last) and last[-1]["cause"] in _IN_VAIN:
        what = _IN_VAIN[last[-1]["cause"]]
        return f"the last three starts of this training {what} in epoch {last[-1]['epoch']}"
    return ""


def _same(rows: Sequence[Row]) -> bool:
    """Whether starts ended alike, with no epoch between them."""
    return len({(row["cause"], row["epoch"]) for row in rows}) == 1


def _all_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of restarts.csv, and those that rank 0 of the last start couldn't write."""
    rows = files.read_rows(folder / "restarts.csv")
    running = folder / "running.json"
    if running.exists():
        epochs = str(len(history.read(folder / "history.csv")))
        row = {**files.read_json(running), "time": _now(), "cause": NO_NOTICE, "epoch": epochs}
        rows.append(row)
    # Where every rank met the same error, it was one start that did, not as many as there are
    # ranks.
    seen = {row["cause"] for row in rows[-1:]}
    for path in sorted(folder.glob("failure-*.json")):
        row = files.read_json(path)
        if row["cause"] not in seen:
            rows.append(row)
            seen.add(row["cause"])
    return rows


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _locked(descriptor: int) -> bool:
    """Try to lock a file; True too where the file system knows no locks."""
    try:
        return locks.lock(descriptor)
    except OSError:
        return True
