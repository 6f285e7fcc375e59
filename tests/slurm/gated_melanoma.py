"""The `melanoma` command as the tests on the cluster run it: a training says where it is.

In $MELANOMA_TEST_GATES, for each experiment:
    started/   one file a process of a training: its job, rank and node;
    at/        "{epoch}-{rank}", once the first step of that epoch is done;
    open/      put there by the test: "{epoch}" lets that epoch go on (where `open` is missing, all
               do), "broken" lets each start fail in its first step;
    digest/    "{epoch}-{rank}": a digest of every parameter and buffer at the end of the epoch;
    ended      a line "{epoch}-{rank}" for each epoch that a rank has trained to its end.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from melanoma import cli


def main() -> None:
    if sys.argv[1] == "train":
        output = Path(sys.argv[sys.argv.index("--output") + 1])
        gate_training(Path(os.environ["MELANOMA_TEST_GATES"]) / output.parts[-2])
    sys.exit(cli.main())


def gate_training(folder: Path) -> None:
    from melanoma.training.bookkeeping import Bookkeeping
    from melanoma.training.module import Classifier

    note_start(folder / "started")
    step_end, epoch_end = Classifier.on_train_batch_end, Bookkeeping.on_train_epoch_end

    @functools.wraps(step_end)
    def gated(self: Classifier, outputs: Any, batch: Any, batch_idx: int) -> None:
        step_end(self, outputs, batch, batch_idx)
        if batch_idx == 0:
            note(folder / "at" / f"{self.current_epoch}-{self.global_rank}")
            wait_for(folder / "open", str(self.current_epoch))

    @functools.wraps(epoch_end)
    def digested(self: Bookkeeping, trainer: Any, pl_module: Any) -> None:
        # Before the state is saved, since a process that was told to end ends there.
        name = f"{trainer.current_epoch}-{trainer.global_rank}"
        note(folder / "digest" / name, digest_of(pl_module.model))
        with (folder / "ended").open("a") as stream:
            stream.write(f"{name}\n")
        epoch_end(self, trainer, pl_module)

    Classifier.on_train_batch_end = gated  # type: ignore[method-assign]
    Bookkeeping.on_train_epoch_end = digested  # type: ignore[method-assign]


def note_start(folder: Path) -> None:
    names = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_NTASKS", "SLURMD_NODENAME")
    values = {name: os.environ.get(name, "") for name in names}
    note(folder / f"{values['SLURM_JOB_ID']}-{os.getpid()}", json.dumps(values))


def wait_for(folder: Path, epoch: str) -> None:
    if (folder / "broken").exists():
        raise RuntimeError("planted")
    while folder.exists() and not (folder / epoch).exists():
        time.sleep(0.1)


def digest_of(model: Any) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def note(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


if __name__ == "__main__":
    main()
