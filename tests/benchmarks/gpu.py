"""Training on a GPU: the real thing against the same model on one batch that never changes.

Step time, FLOP utilisation, memory, torch.compile and the usual loader are told beside it. Without
a GPU all of it runs small on the CPU, so that it keeps working, and counts for nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from melanoma import config
from melanoma.model import FusionModel
from melanoma.training import TrainingJob, history
from melanoma.training.run import train
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.speed_of_loader import Files
from tests.unit import training_examples

METADATA = 20
"""Width of the metadata in the fixed batch; it hardly matters."""

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "V100": 125e12, "T4": 65e12}
"""Dense 16-bit FLOP/s of tensor cores, as the maker's data sheets give them (SXM forms)."""

SHARE = 0.95
EPOCHS = 5
WARM_UP = 2
"""Epochs that are not counted: one with a frozen backbone, one in which cuDNN tries its ways."""
RATES = 2
"""Measurements of the fixed batch before, and as many after, the training."""

FILES = 512
"""PNG files for the usual loader, read again and again."""


@dataclass(frozen=True)
class Scale:
    """How much is trained.

    Attributes:
        backbone: name.
        size: of the images, in pixels.
        batch: images a step.
        images: of an epoch.
        workers: of the usual loader.
    """

    backbone: str
    size: int
    batch: int
    images: int
    workers: int


GPU = Scale("resnet50", 224, 256, 12_800, 14)
CPU = Scale(training_examples.SMALLEST, 32, 16, 96, 0)


@dataclass(frozen=True)
class _Trained:
    """What a training told.

    Attributes:
        frozen: images a second with a frozen backbone, in the first epoch.
        speeds: images a second of each epoch after the warm-up.
        warm_up: seconds of the epochs before.
        memory: highest of the GPU's in the last epoch, in MB.
    """

    frozen: float
    speeds: list[float]
    warm_up: float
    memory: float

    @property
    def speed(self) -> float:
        """Images a second, the median over epochs."""
        return float(np.median(self.speeds))


def figures() -> Iterator[Figure]:
    """Every figure; on the CPU they have no values."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    scale = GPU if cuda else CPU
    name = torch.cuda.get_device_name() if cuda else "needs a GPU"
    what = f"{GPU.backbone}, {GPU.size} px, batch {GPU.batch}"
    for one in _measure(scale, device):
        if not cuda and not one.target:
            continue
        values = one.values if cuda else ()
        yield Figure(
            "gpu", f"{what}: {one.what}", values, one.unit, one.target, f"{one.against}{name}"
        )


def _measure(scale: Scale, device: torch.device) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        training_examples.write_data(folder, train=scale.images, val=64, size=scale.size)
        model, step = _fixed(scale, device)
        ceilings = _rates(step, scale, device)
        real = _trained(folder, scale, device, "on")
        ceilings += _rates(step, scale, device)
        yield from _against_fixed(real, ceilings, scale)
        yield from _utilisation(_flops(model, scale, device) * real.speed, device)
        usual = _usual_rate(step, scale, device, folder)
        usually = f"PIL and torchvision, {scale.workers} workers; "
        yield figure("", "training", real.speed / usual, against=usually)
        del model, step
        host = _trained(folder, scale, device, "off")
        yield figure(
            "",
            "training, images in host memory",
            [speed / real.speed for speed in host.speeds],
            against="in GPU memory; ",
        )
        yield from _compiled(_trained(folder, scale, device, "on", compiled=True), real)


def _against_fixed(real: _Trained, ceilings: list[float], scale: Scale) -> Iterator[Figure]:
    yield figure(
        "",
        "training, images in GPU memory",
        [speed / float(np.median(ceilings)) for speed in real.speeds],
        target=f">= {SHARE}",
        against="one batch in memory, no augmentation; ",
    )
    yield figure("", "training", real.speeds, unit="img/s")
    yield figure("", "fixed batch", ceilings, unit="img/s")
    yield figure("", "step", [scale.batch / speed * 1000 for speed in real.speeds], unit="ms")
    yield figure("", "highest memory", real.memory, unit="MB")
    whole = "all of it learning; "
    yield figure("", "training, frozen backbone", real.frozen / real.speed, against=whole)


def _utilisation(flops: float, device: torch.device) -> Iterator[Figure]:
    """Share of the device's peak that the model's own operations make use of."""
    if device.type == "cpu":
        return
    peak = next((p for key, p in PEAK.items() if key in torch.cuda.get_device_name(device)), None)
    if peak:
        yield figure("", "FLOP utilisation", flops / peak, unit="of the peak")


def _compiled(compiled: _Trained, plain: _Trained) -> Iterator[Figure]:
    speeds = [speed / plain.speed for speed in compiled.speeds]
    yield figure("", "training, compiled", speeds, against="not compiled; ")
    lost = compiled.warm_up - plain.warm_up
    yield figure("", "training, compiled: time of compiling", lost, unit="s")
    yield figure("", "training, compiled: highest memory", compiled.memory, unit="MB")


def _trained(
    folder: Path, scale: Scale, device: torch.device, resident: str, *, compiled: bool = False
) -> _Trained:
    settings = config.Training(
        gpus_per_node=int(device.type == "cuda"),
        batch_size=scale.batch,
        max_epochs=EPOCHS,
        freeze_epochs=1,
        patience=0,
        compile="on" if compiled and device.type == "cuda" else "off",
        resident=resident,  # type: ignore[arg-type]
    )
    experiment = config.Experiment(
        name="bench",
        images=config.Images(hair_removal="none", size=scale.size),
        model=config.Model(backbone=scale.backbone, pretrained=False),
        training=settings,
    )
    output = folder / f"{resident}-{compiled}"
    train(
        TrainingJob(
            experiment=experiment,
            fold=0,
            store=folder / f"none-crop-{scale.size}.npy",
            catalogue=folder / "train.csv",
            splits=folder / "splits.csv",
            weights=None,
            output=output,
            tensorboard=output / "tensorboard",
            code="",
        )
    )
    epochs = history.read(output / "history.csv")
    speeds = [float(row["images_per_second"]) for row in epochs]
    return _Trained(
        frozen=speeds[0],
        speeds=speeds[WARM_UP:],
        warm_up=sum(float(row["seconds"]) for row in epochs[:WARM_UP]),
        memory=float(epochs[-1]["gpu_memory_mb"]),
    )


def _fixed(
    scale: Scale, device: torch.device
) -> tuple[FusionModel, Callable[[torch.Tensor | None], None]]:
    """The model, and a step on one batch, or on the images given."""
    settings = config.Model(backbone=scale.backbone, pretrained=False)
    model = FusionModel(settings, METADATA).to(device, memory_format=torch.channels_last)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    shape = (scale.batch, 3, scale.size, scale.size)
    fixed = torch.randn(shape, device=device).to(memory_format=torch.channels_last)
    metadata = torch.randn(scale.batch, METADATA, device=device)
    labels = torch.randint(0, 8, (scale.batch,), device=device)
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = cuda
    torch.set_float32_matmul_precision("high")

    def step(images: torch.Tensor | None = None) -> None:
        given = fixed if images is None else images
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            logits = model(given, metadata[: len(given)])
            loss = torch.nn.functional.cross_entropy(logits, labels[: len(given)])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return model, step


def _rates(
    step: Callable[[torch.Tensor | None], None], scale: Scale, device: torch.device
) -> list[float]:
    """Images a second of a step on the fixed batch, several times."""
    steps = scale.images // scale.batch
    for _ in range(5):
        step(None)
    rates = []
    for _ in range(RATES):
        _wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            step(None)
        _wait(device)
        rates.append(steps * scale.batch / (time.perf_counter() - start))
    return rates


def _usual_rate(
    step: Callable[[torch.Tensor | None], None], scale: Scale, device: torch.device, folder: Path
) -> float:
    """Images a second with the usual loader feeding the same step."""
    rng = np.random.default_rng(0)
    count = max(scale.batch * 2, FILES if device.type == "cuda" else 0)
    shape = (count, scale.size, scale.size, 3)
    files = Files(folder, rng.integers(0, 255, shape, dtype=np.uint8))
    several = torch.utils.data.ConcatDataset([files] * (6 if device.type == "cuda" else 1))
    loader: Any = DataLoader(
        several,
        batch_size=scale.batch,
        shuffle=True,
        num_workers=scale.workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )
    seen, start = 0, 0.0
    for images, _ in loader:
        step(images.to(device, non_blocking=True, memory_format=torch.channels_last))
        _wait(device)
        if start:
            seen += len(images)
        start = start or time.perf_counter()  # the first batch waits for the workers to start
    return seen / (time.perf_counter() - start)


def _flops(model: FusionModel, scale: Scale, device: torch.device) -> float:
    """Floating-point operations of training on one image, forward and backward."""
    images = torch.randn((2, 3, scale.size, scale.size), device=device)
    with FlopCounterMode(display=False) as counter:
        model(images, torch.randn(2, METADATA, device=device)).sum().backward()
    return counter.get_total_flops() / 2


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    import argparse

    argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu",
        description="Training on a GPU against its limits; without one, a small run on the CPU.",
    ).parse_args()
    from tests.benchmarks.figures import to_table

    print(to_table(list(figures())))
