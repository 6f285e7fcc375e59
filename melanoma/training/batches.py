"""Batches on the device: their order, how ranks share them, and where the pixels come from."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from melanoma.errors import InputError
from melanoma.training.fold import Part

Positions = npt.NDArray[np.int64]

LEAST_PER_RANK = 2
"""BatchNorm cannot train on a single image."""

_COPY_ROWS = 512
"""Images copied to the device at a time when a split becomes resident."""


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch, on the device.

    Attributes:
        pixels: uint8[n, s, s, 3], or None for a model without images.
        metadata: float32[n, width].
        labels: int64[n].
        positions: int64[n], in the split's table.
        rows: int64[n], in the store: what augmentation is drawn by.
        total: images of the global batch over all ranks; 0 marks a batch that counts for nothing.
    """

    pixels: Tensor | None
    metadata: Tensor
    labels: Tensor
    positions: Tensor
    rows: Tensor
    total: int


def training_order(n: int, *, seed: int, epoch: int) -> Positions:
    """The order of an epoch: a permutation of 0..n-1 drawn from (seed, epoch) alone."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def training_steps(n: int, *, batch_size: int, ranks: int) -> int:
    """Optimiser steps in an epoch.

    The last, smaller batch is left out only where the ranks could not share it with at least
    `LEAST_PER_RANK` images each.

    Args:
        n: training images.
        batch_size: global.
        ranks: processes.

    Raises:
        InputError: too small a batch, or too few images to make one.
    """
    least = LEAST_PER_RANK * ranks
    if batch_size < least:
        raise InputError(
            f"training.batch_size: {batch_size} is too small for {ranks} processes: each needs at "
            f"least {LEAST_PER_RANK} images for BatchNorm; use at least {least}"
        )
    steps = n // batch_size + (n % batch_size >= least)
    if steps == 0:
        raise InputError(
            f"{n} training images are too few for {ranks} processes: at least {least} are needed; "
            "use more images or fewer processes"
        )
    return int(steps)


def training_parts(
    order: Positions, *, batch_size: int, ranks: int, rank: int
) -> list[tuple[Positions, int]]:
    """A rank's share of every global batch, with that batch's size over all ranks.

    The shares of the ranks are disjoint, make up the whole batch and differ by one image at most.
    """
    steps = training_steps(len(order), batch_size=batch_size, ranks=ranks)
    wholes = [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]
    return [(whole[rank::ranks], len(whole)) for whole in wholes]


def validation_parts(
    n: int, *, batch_size: int, ranks: int, rank: int
) -> list[tuple[Positions, int]]:
    """A rank's share of a split to validate: over all ranks each row exactly once.

    A rank without rows gets one batch that counts for nothing, so that it takes part in the
    epoch's end like the others.
    """
    own = np.arange(n, dtype=np.int64)[rank::ranks]
    size = max(1, batch_size // ranks)
    parts = [own[start : start + size] for start in range(0, len(own), size)]
    return [(part, len(part)) for part in parts] or [(np.zeros(1, dtype=np.int64), 0)]


class Pixels(Protocol):
    """Where the pixels of a split come from."""

    def stream(self, parts: Sequence[Positions]) -> Iterator[Tensor]:
        """Pixels of each part in turn, uint8[n, s, s, 3] on the device."""
        ...


class ResidentPixels:
    """A whole split in the device's memory, read from the store once and in order.

    Args:
        store: uint8[m, s, s, 3], as mapped from the store's file.
        rows: int64[n], the split's rows of the store.
        device: where it shall be.
    """

    def __init__(self, store: npt.NDArray[np.uint8], rows: Positions, device: torch.device) -> None:
        self._device = device
        self._pixels = torch.empty((len(rows), *store.shape[1:]), dtype=torch.uint8, device=device)
        source = _as_tensor(store)
        in_order = np.argsort(rows, kind="stable")
        for start in range(0, len(rows), _COPY_ROWS):
            chunk = in_order[start : start + _COPY_ROWS]
            copied = source.index_select(0, torch.from_numpy(rows[chunk])).to(device)
            self._pixels.index_copy_(0, torch.from_numpy(chunk).to(device), copied)

    def stream(self, parts: Sequence[Positions]) -> Iterator[Tensor]:
        """Pixels of each part in turn."""
        # All at once, so that nothing is sent to the device at each step.
        positions = torch.from_numpy(np.concatenate(parts)).to(self._device)
        for chosen in torch.split(positions, [len(part) for part in parts]):
            yield self._pixels.index_select(0, chosen)


class HostPixels:
    """A split read from the store batch by batch, one batch ahead of its use.

    With a GPU two pinned buffers are filled in turn: while the device works on one batch, the next
    one is on its way. On the CPU a batch is itself one of three buffers: it holds until the next
    but one is asked for, and whoever keeps it longer must copy it.

    Args:
        store: uint8[m, s, s, 3], as mapped from the store's file.
        rows: int64[n], the split's rows of the store.
        device: where the batches shall be.
    """

    def __init__(self, store: npt.NDArray[np.uint8], rows: Positions, device: torch.device) -> None:
        self._source = _as_tensor(store)
        self._rows = rows
        self._device = device
        self._cuda = device.type == "cuda"
        self._copies = torch.cuda.Stream(device) if self._cuda else None  # type: ignore[no-untyped-call]
        self._buffers: list[Tensor] = []
        self._copied: list[torch.cuda.Event | None] = [None] * (2 if self._cuda else 3)

    def stream(self, parts: Sequence[Positions]) -> Iterator[Tensor]:
        """Pixels of each part in turn."""
        largest = max((len(part) for part in parts), default=0)
        if not self._buffers or len(self._buffers[0]) < largest:
            shape = (largest, *self._source.shape[1:])
            self._buffers = [
                torch.empty(shape, dtype=torch.uint8, pin_memory=self._cuda) for _ in self._copied
            ]
        slots = itertools.cycle(range(len(self._buffers)))
        ahead: tuple[Tensor, int] | None = None
        for part, slot in zip(parts, slots, strict=False):
            started = self._start(part, slot), slot
            if ahead is not None:
                yield self._arrived(*ahead)
            ahead = started
        if ahead is not None:
            yield self._arrived(*ahead)

    def _start(self, part: Positions, slot: int) -> Tensor:
        """Read a batch into a buffer and set its copy to the device going."""
        copied = self._copied[slot]
        if copied is not None:
            copied.synchronize()
        buffer = self._buffers[slot][: len(part)]
        torch.index_select(self._source, 0, torch.from_numpy(self._rows[part]), out=buffer)
        if self._copies is None:
            return buffer
        with torch.cuda.stream(self._copies):
            sent = buffer.to(self._device, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._copies)
        self._copied[slot] = event
        return sent

    def _arrived(self, sent: Tensor, slot: int) -> Tensor:
        """Make the device's work wait for a copy, without making the host wait."""
        event = self._copied[slot]
        if event is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(event)
            sent.record_stream(current)
        return sent


def _as_tensor(store: npt.NDArray[np.uint8]) -> Tensor:
    """The mapped store as a tensor: it is only read from, so its being read-only does no harm."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(store)


class Batches:
    """The batches of a split, made anew at each iteration.

    Args:
        part: labels and metadata of the split.
        pixels: where its pixels come from; None for a model without images.
        plan: gives this rank's share of every batch, for the epoch that is about to begin.
        device: where the batches shall be.
    """

    def __init__(
        self,
        part: Part,
        pixels: Pixels | None,
        plan: Callable[[], list[tuple[Positions, int]]],
        device: torch.device,
    ) -> None:
        self._pixels = pixels
        self._plan = plan
        self._device = device
        self._length = len(plan())
        self._labels = torch.from_numpy(part.labels).to(device)
        self._metadata = torch.from_numpy(part.metadata).to(device)
        self._rows = torch.from_numpy(part.rows).to(device)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        parts = self._plan()
        # All positions of the epoch travel at once: nothing is copied to the device at each step.
        positions = torch.from_numpy(np.concatenate([part for part, _ in parts])).to(self._device)
        streams = self._pixels.stream([part for part, _ in parts]) if self._pixels else None
        start = 0
        for part, total in parts:
            chosen = positions[start : start + len(part)]
            start += len(part)
            yield Batch(
                pixels=next(streams) if streams is not None else None,
                metadata=self._metadata.index_select(0, chosen),
                labels=self._labels.index_select(0, chosen),
                positions=chosen,
                rows=self._rows.index_select(0, chosen),
                total=total,
            )
