"""Resuming: how far earlier starts came, and putting in its place what a finished training made."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melanoma import files
from melanoma.errors import InputError
from melanoma.training import checkpoints
from melanoma.training.checkpoints import Provenance
from melanoma.training.starts import ResumeFolder
from melanoma.wording import counted

STATE_KEY = "melanoma"
"""Where the state to resume from keeps what is this package's own."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """How far earlier starts came.

    Attributes:
        epochs: epochs done.
        finished: whether the training is done, be it early.
    """

    epochs: int = 0
    finished: bool = False


def standing_of(folder: ResumeFolder) -> Standing:
    """How far the earlier starts of a training came.

    Raises:
        InputError: the state cannot be read.
    """
    if not folder.state.exists():
        return Standing()
    kept = _read_state(folder.state)["callbacks"][STATE_KEY]
    return Standing(kept["epochs"], kept["finished"])


def publish_results(folder: ResumeFolder, output: Path, provenance: Provenance) -> None:
    """Put what a finished training made in its place, each file atomically.

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
    folder.finish()
    logger.info(
        "trained %s; epoch %d is the best: %s",
        counted(kept["epochs"], "epoch"),
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
