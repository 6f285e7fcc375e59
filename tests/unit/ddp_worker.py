"""Trains in a process of its own, and in as many more as it is told to launch.

Run as `python ddp_worker.py DATA OUTPUT OPTIONS`, the options as JSON:
    model, training: settings, see `training_examples.experiment`;
    dump: folder that gets, for each epoch and rank, a digest of every parameter and buffer;
    action: {"do": "raise", "sleep" (two seconds) or a signal's name, "epoch": e, "step": s,
        "rank": r}, after that step.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import training_examples

from melanoma import logs
from melanoma.training import run
from melanoma.training.bookkeeping import Bookkeeping
from melanoma.training.module import Classifier


def main() -> None:
    data, output, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    if "action" in options:
        act_on(options["action"])
    if "dump" in options:
        dump_to(Path(options["dump"]))
    job = training_examples.job(data, output, options.get("model"), options.get("training"))
    with logs.job_log():
        run.train(job)


def act_on(action: dict[str, Any]) -> None:
    """Do something bad after a step."""
    original = Classifier.on_train_batch_end

    @functools.wraps(original)
    def acting(self: Classifier, outputs: Any, batch: Any, batch_idx: int) -> None:
        original(self, outputs, batch, batch_idx)
        now = (self.current_epoch, batch_idx, self.global_rank)
        if now == (action["epoch"], action["step"], action.get("rank", 0)):
            if action["do"] == "raise":
                raise ValueError("planted")
            if action["do"] == "sleep":
                time.sleep(2)
                return
            os.kill(os.getpid(), getattr(signal, action["do"]))
            if action["do"] == "SIGTERM":
                time.sleep(60)  # on a busy machine this training might be done before it is told

    Classifier.on_train_batch_end = acting  # type: ignore[method-assign]


def dump_to(folder: Path) -> None:
    """Write a digest of the state at the end of each epoch."""
    original = Bookkeeping.on_train_epoch_end

    @functools.wraps(original)
    def dumping(self: Bookkeeping, trainer: Any, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        original(self, trainer, pl_module)
        digests = {
            name: hashlib.sha256(value.numpy().tobytes()).hexdigest()
            for name, value in pl_module.model.state_dict().items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        name = f"epoch{epoch}-rank{trainer.global_rank}.json"
        (folder / name).write_text(json.dumps(digests))

    Bookkeeping.on_train_epoch_end = dumping  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
