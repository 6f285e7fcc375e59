"""What happens at an epoch's end: history, best model, early stopping, state to resume from."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor

from melanoma.board import Board
from melanoma.files import atomic
from melanoma.training import checkpoints, history, signals
from melanoma.training.batches import Batch
from melanoma.training.checkpoints import Provenance
from melanoma.training.figures import Figures, confusion_figure
from melanoma.training.module import Classifier
from melanoma.training.resume import STATE_KEY
from melanoma.training.starts import ResumeFolder

SCORE = "balanced_accuracy"
"""The validation figure that chooses the best epoch."""

PROGRESS_SECONDS = 20.0

logger = logging.getLogger(__name__)


class Bookkeeping(pl.Callback):
    """Keeps a training's record; its state travels in the checkpoint to resume from.

    Args:
        folder: where everything is kept until the training is done.
        provenance: what goes into every checkpoint.
        tensorboard: folder of the TensorBoard logs.

    Attributes:
        best_epoch: counted from 0; -1 before the first epoch's end.
        best_metrics: validation figures of that epoch.
        last_metrics: validation figures of the last epoch.
        finished: whether the training is done.
        stopped_early: whether patience ran out.
    """

    state_key = STATE_KEY

    def __init__(self, folder: ResumeFolder, provenance: Provenance, tensorboard: Path) -> None:
        self._folder = folder
        self._provenance = provenance
        self._tensorboard = tensorboard
        self._board: Board | None = None
        self.best_epoch = -1
        self.best_metrics: dict[str, float] = {}
        self.last_metrics: dict[str, float] = {}
        self.finished = False
        self.stopped_early = False
        self._began = self._trained = self._said = 0.0
        self._images = 0

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint to resume from."""
        return {
            "best_epoch": self.best_epoch,
            "best_metrics": self.best_metrics,
            "last_metrics": self.last_metrics,
            "finished": self.finished,
            "stopped_early": self.stopped_early,
            "epochs": self._folder.epochs,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint that is resumed from."""
        self.best_epoch = state_dict["best_epoch"]
        self.best_metrics = state_dict["best_metrics"]
        self.last_metrics = state_dict["last_metrics"]
        self.finished = state_dict["finished"]
        self.stopped_early = state_dict["stopped_early"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take back what Lightning does about signals."""
        signals.claim()
        # Lightning asks rank 0 before every step whether it has had a SIGTERM, and waits for the
        # answer on the device; the watching thread ends each rank by itself.
        loop: Any = trainer.fit_loop.epoch_loop
        loop._broadcast_sigterm_tensor = lambda: None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to go on where a node's file system still shows it an older state."""
        if trainer.world_size == 1:
            return
        epoch = trainer.current_epoch
        found = torch.tensor([epoch, -epoch], device=pl_module.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        if found[0] != -found[1]:
            raise RuntimeError(
                f"the processes resume in different epochs ({-int(found[1])} to {int(found[0])}): "
                f"not all nodes see the same {self._folder.state}"
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks."""
        self._began = self._said = time.monotonic()
        self._images = 0
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Say how far the epoch is, now and then."""
        self._images += batch.total
        now = time.monotonic()
        if trainer.is_global_zero and now - self._said >= PROGRESS_SECONDS:
            self._said = now
            loss: Tensor = outputs["loss"]
            logger.info(
                "epoch %d, step %d of %d: loss %.4f, %.1f images/s",
                trainer.current_epoch,
                batch_idx + 1,
                int(trainer.num_training_batches),
                float(loss),
                self._images / (now - self._began),
            )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of the training steps."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._trained = time.monotonic() - self._began

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch, keep the best model and the state, stop when patience runs out.

        Everything that is decided here is decided alike on every rank, from figures of all rows.
        """
        assert isinstance(pl_module, Classifier)
        figures = pl_module.figures
        assert figures is not None
        epoch = trainer.current_epoch
        self.last_metrics = figures.values
        is_best = figures.values[SCORE] > self.best_metrics.get(SCORE, -math.inf)
        if is_best:
            self.best_epoch, self.best_metrics = epoch, figures.values
        self._decide(trainer, pl_module, epoch)
        row = self._row(pl_module, figures, epoch)
        if trainer.is_global_zero:
            history.append(self._folder.history, row)
            if is_best:
                self._save_best(pl_module, figures, epoch)
            self._log(row, is_best)
            self._show(trainer, pl_module, row, is_best=is_best)
        self._save_state(trainer, epoch)
        if self.stopped_early:
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the TensorBoard log."""
        if self._board is not None:
            self._board.close()

    def _decide(self, trainer: pl.Trainer, module: Classifier, epoch: int) -> None:
        """Whether the training ends here; stage one does not count against patience."""
        patience = module.settings.patience
        since = epoch - max(self.best_epoch, module.schedule.freeze_epochs - 1)
        last = epoch + 1 == module.schedule.epochs
        self.stopped_early = bool(patience) and since >= patience and not last
        self.finished = self.stopped_early or last

    def _row(self, module: Classifier, figures: Figures, epoch: int) -> history.Row:
        cuda = module.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(module.device) if cuda else 0
        return {
            "epoch": epoch,
            "stage": module.schedule.stage(epoch),
            "train_loss": module.epoch_loss(),
            **{f"val_{name}": value for name, value in figures.values.items()},
            "lr_head": module.lr_of(0),
            "lr_stem": module.lr_of(-1),
            "seconds": round(time.monotonic() - self._began, 3),
            "images_per_second": round(self._images / max(self._trained, 1e-9), 2),
            "gpu_memory_mb": round(peak / 1e6),
        }

    def _save_best(self, module: Classifier, figures: Figures, epoch: int) -> None:
        values = checkpoints.contents(
            self._provenance, module.model.state_dict(), epoch=epoch, metrics=figures.values
        )
        checkpoints.save(self._folder.best(epoch), values)

    def _save_state(self, trainer: pl.Trainer, epoch: int) -> None:
        """Save the state to resume from: all ranks take part, rank 0 writes."""
        self._folder.epochs = epoch + 1
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self._folder.state)
            return
        with atomic(self._folder.state) as partial:
            trainer.save_checkpoint(partial)
        self._folder.keep_best(self.best_epoch)
        if not self.finished:
            self._folder.epoch_is_saved()

    def _log(self, row: history.Row, is_best: bool) -> None:
        logger.info(
            "epoch %d (%s): train loss %.4f, validation loss %.4f, balanced accuracy %.4f, "
            "AUROC %.4f, %.1f images/s, %.0f s, %.0f MB GPU%s",
            *(row[name] for name in ("epoch", "stage", "train_loss", "val_loss")),
            *(row[name] for name in ("val_balanced_accuracy", "val_macro_auroc")),
            *(row[name] for name in ("images_per_second", "seconds", "gpu_memory_mb")),
            ", the best so far" if is_best else "",
        )

    def _show(
        self, trainer: pl.Trainer, module: Classifier, row: history.Row, *, is_best: bool
    ) -> None:
        """Show the epoch in TensorBoard; pictures of the best one and the last one alone."""
        figures, epoch = module.figures, trainer.current_epoch
        assert figures is not None
        if self._board is None:
            self._board = Board(self._tensorboard, epoch)
        self._board.epoch(row, figures.per_class, epoch)
        if is_best or self.finished:
            self._board.figure("confusion", confusion_figure(figures.confusion), epoch)
            datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
            samples = datamodule.samples()
            if samples is not None:
                chosen = figures.probabilities[samples.positions].numpy()
                self._board.samples(samples, chosen, epoch)
        if self.finished:
            self._board.finish(self._provenance.experiment, self.best_metrics, self.best_epoch)
