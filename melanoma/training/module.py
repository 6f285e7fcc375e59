"""The LightningModule: steps, stages, optimiser, and what the ranks agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from melanoma import config
from melanoma.errors import InputError
from melanoma.model import FusionModel, to_input
from melanoma.training.augment import Augmentation
from melanoma.training.batches import Batch
from melanoma.training.figures import Figures, validation_figures
from melanoma.training.fold import FoldTables
from melanoma.training.losses import sample_losses
from melanoma.training.stages import Schedule

WEIGHT_DECAY = 0.05
"""Of matrices and convolutions; biases and norms have none (usual for AdamW fine-tuning, e.g.
Liu et al. 2022, ConvNeXt, arXiv:2201.03545)."""

CHECK_EVERY = 50
"""Steps between looks at the loss on a GPU, since each look waits for the device."""

_NEVER = 2**62


class NonFiniteLossError(InputError):
    """The loss became NaN or infinite.

    Attributes:
        epoch: counted from 0.
        step: of the epoch, counted from 0: the first with such a loss on any rank.
    """

    def __init__(self, epoch: int, step: int, batch: str = "") -> None:
        listed = f" (listed in {batch})" if batch else ""
        super().__init__(
            f"training: the loss is not finite in epoch {epoch}, step {step}: lower training.lr, "
            f"or set training.precision: 32, or look at the images of that batch{listed}"
        )
        self.epoch = epoch
        self.step = step


class Classifier(pl.LightningModule):
    """Trains a `FusionModel`.

    Args:
        model: with its starting weights.
        tables: the fold's rows.
        settings: of the experiment.
        schedule: stages and learning rates.
        start_epoch: the epoch that training begins with; not 0 when resumed.
        compiled: whether steps that train all layers on a whole batch go through torch.compile.
            What else there is, a frozen backbone, an epoch's last batch and validation, would
            each have to be compiled for itself, and takes little of the time.
    """

    def __init__(
        self,
        model: FusionModel,
        tables: FoldTables,
        settings: config.Experiment,
        schedule: Schedule,
        start_epoch: int = 0,
        *,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self._compiled = torch.compile(model.forward, dynamic=False) if compiled else None
        self.settings = settings.training
        self.schedule = schedule
        self.figures: Figures | None = None
        self._start_epoch = start_epoch
        self._uses_metadata = settings.model.metadata
        self._val_labels = torch.from_numpy(tables.val.labels)
        self.augmentation = Augmentation(
            settings.training.seed,
            tables.encoder.field_slices,
            torch.from_numpy(tables.encoder.missing_row),
            settings.training.metadata_dropout,
            settings.training.metadata_dropout_all,
        )
        weights = torch.from_numpy(tables.class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        for name in ("loss_sum", "loss_count"):
            self.register_buffer(name, torch.zeros(()), persistent=False)
        self.register_buffer("first_bad", torch.tensor(_NEVER), persistent=False)
        self._val_logits: list[tuple[Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Freeze what the first epoch freezes, before the strategy wraps the module."""
        self._freeze(self.schedule.stage(self._start_epoch) == "head")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over every layer group, those frozen at first included."""
        groups: list[dict[str, Any]] = []
        for depth, (name, parameters) in enumerate(self.model.layer_groups()):
            decayed = [p for p in parameters if p.ndim > 1]
            plain = [p for p in parameters if p.ndim <= 1]
            for kind, chosen, decay in (("", decayed, WEIGHT_DECAY), (".plain", plain, 0.0)):
                if chosen:
                    group = {"name": name + kind, "depth": depth, "weight_decay": decay}
                    groups.append({"params": chosen, "lr": self.schedule.lr, **group})
        return torch.optim.AdamW(groups, lr=self.schedule.lr, fused=True)

    def on_train_epoch_start(self) -> None:
        """Enter the epoch's stage and draw its dropout from (seed, epoch, rank)."""
        frozen = self.schedule.stage(self.current_epoch) == "head"
        self._enter(frozen)
        self.train()
        if frozen and self.model.backbone is not None:
            self.model.backbone.eval()
        seed = (self.settings.seed * 1_000_003 + self.current_epoch) * 4099 + self.global_rank
        torch.manual_seed(seed % 2**63)
        self._buffer("loss_sum").zero_()
        self._buffer("loss_count").zero_()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the step's learning rates."""
        step = self.current_epoch * self.schedule.steps_per_epoch + batch_idx
        for group in self._optimiser().param_groups:
            group["lr"] = self.schedule.lr_at(step, group["depth"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of this rank's share, scaled so that the ranks' mean is the global batch's mean."""
        logits = self._forward_of(batch)(*self._augmented(batch))
        weights = self._buffer("class_weights")
        losses = sample_losses(logits, batch.labels, self.settings.loss, weights)
        total = losses.sum()
        self._watch(total.detach(), batch_idx)
        self._buffer("loss_sum").add_(total.detach())
        self._buffer("loss_count").add_(len(batch.labels))
        return total * (self.trainer.world_size / batch.total)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Look at the loss now and then, at the same steps on every rank."""
        last = batch_idx + 1 == self.schedule.steps_per_epoch
        if self.device.type == "cpu" or last or (batch_idx + 1) % CHECK_EVERY == 0:
            self._stop_if_not_finite()

    def on_validation_start(self) -> None:
        """Give all ranks the same running statistics, before anything is judged by them."""
        self._average_statistics()
        self._val_logits = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of this rank's rows."""
        images = None if batch.pixels is None else to_input(batch.pixels)
        logits = self.model(images, batch.metadata if self._uses_metadata else None)
        if batch.total:
            self._val_logits.append((batch.positions, logits.float()))

    def on_validation_epoch_end(self) -> None:
        """Bring all rows together on every rank, and compute the figures of the whole part."""
        logits = gather_rows(self._val_logits, len(self._val_labels), self.device)
        self._val_logits = []
        self.figures = validation_figures(
            logits,
            self._val_labels,
            loss=self.settings.loss,
            weights=self._buffer("class_weights").cpu(),
        )

    def epoch_loss(self) -> float:
        """Mean training loss of the epoch over all ranks; every rank must call it."""
        sums = torch.stack([self._buffer("loss_sum"), self._buffer("loss_count")])
        self._all_reduce(sums)
        return float(sums[0] / sums[1].clamp(min=1))

    def lr_of(self, depth: int) -> float:
        """Learning rate in force at a depth; -1 is the deepest."""
        groups = self._optimiser().param_groups
        depth = depth % (groups[-1]["depth"] + 1)
        return float(next(g["lr"] for g in groups if g["depth"] == depth))

    def _forward_of(self, batch: Batch) -> Callable[..., Tensor]:
        whole = batch.total == self.settings.batch_size
        if self._compiled and whole and self.schedule.stage(self.current_epoch) == "all":
            return self._compiled
        return self.model

    def _augmented(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        epoch = self.current_epoch
        images = metadata = None
        # Autocast would round positions in the image to 8 or 11 bits.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            if batch.pixels is not None:
                images = self.augmentation.images(batch.pixels, batch.rows, epoch)
            if self._uses_metadata:
                metadata = self.augmentation.metadata(batch.metadata, batch.rows, epoch)
        return images, metadata

    def _enter(self, frozen: bool) -> None:
        """Change the stage where the epoch begins another one.

        DDP reduces the gradients of those parameters alone that wanted one when it was made, so
        a change of stage needs a new one: otherwise the ranks' backbones would drift apart.
        """
        if not self._freeze(frozen):
            return
        strategy: Any = self.trainer.strategy
        if isinstance(strategy.model, DistributedDataParallel):
            strategy.model = self
            strategy.configure_ddp()

    def _freeze(self, frozen: bool) -> bool:
        """Set whether the backbone learns; tell whether that is a change."""
        if self.model.backbone is None:
            return False
        changed = False
        for parameter in self.model.backbone.parameters():
            changed |= parameter.requires_grad == frozen
            parameter.requires_grad_(not frozen)
        return changed

    def _average_statistics(self) -> None:
        statistics = [
            buffer
            for module in self.model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]
        if self.trainer.world_size == 1 or not statistics:
            return
        flat = torch.cat([buffer.flatten() for buffer in statistics])
        self._all_reduce(flat)
        flat /= self.trainer.world_size
        sizes = [buffer.numel() for buffer in statistics]
        for buffer, averaged in zip(statistics, torch.split(flat, sizes), strict=True):
            buffer.copy_(averaged.view_as(buffer))

    def _watch(self, loss: Tensor, step: int) -> None:
        """Note the first step with a bad loss, without waiting for the device."""
        first = self._buffer("first_bad")
        now = torch.where(torch.isfinite(loss), _NEVER, step)
        first.copy_(torch.minimum(first, now))

    def _stop_if_not_finite(self) -> None:
        first = self._buffer("first_bad").clone()
        self._all_reduce(first, dist.ReduceOp.MIN)
        if int(first) != _NEVER:
            raise NonFiniteLossError(self.current_epoch, int(first))

    def _all_reduce(self, values: Tensor, operation: Any = dist.ReduceOp.SUM) -> None:
        if self.trainer.world_size > 1:
            dist.all_reduce(values, operation)

    def _optimiser(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]

    def _buffer(self, name: str) -> Tensor:
        return self.get_buffer(name)


def gather_rows(parts: list[tuple[Tensor, Tensor]], n: int, device: torch.device) -> Tensor:
    """Rows that lie scattered over the ranks, in order, on every rank.

    Args:
        parts: this rank's positions, int64[k], with their values, float32[k, classes].
        n: rows in all; each must be on exactly one rank, once.
        device: of the collective.

    Returns:
        float32[n, classes] on the CPU.

    Raises:
        RuntimeError: a row is missing or there twice.
    """
    width = parts[0][1].shape[1] if parts else 0
    widths = torch.tensor([width], device=device)
    reduce: Callable[..., Any] = dist.all_reduce if dist.is_initialized() else _alone
    reduce(widths, dist.ReduceOp.MAX)
    # Each row is zero on every rank but its own, so that the sum brings it over exactly.
    rows = torch.zeros((n, int(widths)), device=device)
    seen = torch.zeros(n, device=device)
    for positions, values in parts:
        rows[positions] = values
        seen.index_add_(0, positions, torch.ones_like(positions, dtype=seen.dtype))
    reduce(rows, dist.ReduceOp.SUM)
    reduce(seen, dist.ReduceOp.SUM)
    if not bool((seen == 1).all()):
        raise RuntimeError("validation: rows missing or counted twice")
    return rows.cpu()


def _alone(values: Tensor, operation: Any) -> None:
    """The collective of a single process: nothing to add."""
