"""The data module: a fold's batches for this rank, on its device."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch

from melanoma.board import Samples, sample_positions
from melanoma.training.batches import (
    Batch,
    Batches,
    HostPixels,
    Pixels,
    Positions,
    ResidentPixels,
    training_order,
    training_parts,
    training_steps,
    validation_parts,
)
from melanoma.training.fold import FoldTables, Part

logger = logging.getLogger(__name__)

RESIDENT_SHARE = 0.4
"""Share of the GPU's free memory that images may take: the rest is for the model's activations."""


class FoldData(pl.LightningDataModule):
    """Training and validation batches of one fold.

    Args:
        tables: the fold's rows.
        store: uint8[m, s, s, 3], as mapped from the store's file; None for a model without images.
        batch_size: global.
        seed: of the training.
        resident: whether the images live in the device's memory.
    """

    def __init__(
        self,
        tables: FoldTables,
        store: npt.NDArray[np.uint8] | None,
        *,
        batch_size: int,
        seed: int,
        resident: Literal["auto", "on", "off"],
    ) -> None:
        super().__init__()
        self.tables = tables
        self._store = store
        self._batch_size = batch_size
        self._seed = seed
        self._resident = resident

    def steps_per_epoch(self, ranks: int) -> int:
        """Optimiser steps in an epoch, the same on every rank."""
        return training_steps(len(self.tables.train), batch_size=self._batch_size, ranks=ranks)

    def train_dataloader(self) -> Batches:
        """This rank's shares of the training batches; their order is of the epoch."""
        return self._batches(self.tables.train, self._training_plan)

    def val_dataloader(self) -> Batches:
        """This rank's shares of the validation part."""
        return self._batches(self.tables.val, self._validation_plan)

    def samples(self) -> Samples | None:
        """Some validation images to look at; None for a model without images."""
        if self._store is None:
            return None
        val = self.tables.val
        positions = sample_positions(val.labels)
        pixels = np.asarray(self._store[val.rows[positions]])
        return Samples(positions, pixels, val.labels[positions])

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Nothing to do: batches are made on the device."""
        return batch

    def _training_plan(self) -> list[tuple[Positions, int]]:
        trainer = self._trainer_()
        order = training_order(len(self.tables.train), seed=self._seed, epoch=trainer.current_epoch)
        return training_parts(
            order,
            batch_size=self._batch_size,
            ranks=trainer.world_size,
            rank=trainer.global_rank,
        )

    def _validation_plan(self) -> list[tuple[Positions, int]]:
        trainer = self._trainer_()
        return validation_parts(
            len(self.tables.val),
            batch_size=self._batch_size,
            ranks=trainer.world_size,
            rank=trainer.global_rank,
        )

    def _batches(self, part: Part, plan: Any) -> Batches:
        device = self._trainer_().strategy.root_device
        return Batches(part, self._pixels(part, device), plan, device)

    def _pixels(self, part: Part, device: torch.device) -> Pixels | None:
        if self._store is None:
            return None
        size = len(part) * int(np.prod(self._store.shape[1:]))
        if not is_resident(self._resident, size, device):
            return HostPixels(self._store, part.rows, device)
        logger.info("images of this split stay on the device: %.0f MB", size / 1e6)
        return ResidentPixels(self._store, part.rows, device)

    def _trainer_(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer


def is_resident(wanted: Literal["auto", "on", "off"], size: int, device: torch.device) -> bool:
    """Whether a split shall live in the device's memory.

    Args:
        wanted: "auto" decides by free memory; on the CPU it leaves the images in the mapped file,
            which the page cache holds anyway.
        size: of the split, in bytes.
        device: of this rank.
    """
    if wanted != "auto":
        return wanted == "on"
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return size <= RESIDENT_SHARE * free
