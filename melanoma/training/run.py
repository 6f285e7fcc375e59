"""Train one fold of one experiment, from its first start or from wherever the last one ended."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch

from melanoma import isic
from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.files import write_table
from melanoma.model import FusionModel
from melanoma.splits import read_splits
from melanoma.store import Store
from melanoma.training import TrainingJob, TrainingResult, history, launch, signals
from melanoma.training.batches import training_order, training_steps
from melanoma.training.bookkeeping import Bookkeeping
from melanoma.training.checkpoints import Provenance
from melanoma.training.data import FoldData
from melanoma.training.fold import FoldTables, fold_tables
from melanoma.training.module import Classifier, NonFiniteLossError
from melanoma.training.resume import Standing, other_folders, publish_results, standing_of
from melanoma.training.stages import Schedule
from melanoma.training.starts import ResumeFolder
from melanoma.wording import counted

COMPILE_IMAGES = 1_000_000
"""Images that one rank must see for torch.compile's minutes of compiling to be repaid (estimate: a
few minutes against a tenth of the time of a step)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Setting:
    """What a start of a training works with."""

    job: TrainingJob
    how: launch.Launch
    folder: ResumeFolder
    standing: Standing
    tables: FoldTables
    store: Store
    schedule: Schedule


def train(job: TrainingJob, folder: ResumeFolder | None = None) -> TrainingResult:
    """Train, resuming by itself where an earlier start with the same inputs left off.

    With several ranks each of them calls this, once in a process.

    Args:
        job: what to train.
        folder: its folder, if this start is being recorded there already.

    Returns:
        What the training came to. model.ckpt (best epoch), last.ckpt, history.csv and
        restarts.csv are in job.output then.

    Raises:
        InputError: unusable settings, data or hardware; a loss that is not finite; or two earlier
            starts that ended in the same error.
    """
    if folder is None:
        with ResumeFolder.of(job, launch.rank_of(os.environ)).recorded() as own:
            return train(job, own)
    rank = launch.rank_of(os.environ)
    _quieten(rank)
    gpus, capability = launch.visible_gpus()
    how = launch.plan(job.experiment.training, os.environ, gpus=gpus, capability=capability)
    if rank and not how.by_slurm:
        signals.die_with_parent()
    store = Store.open(job.store)
    if rank == 0:
        store.verify()
    tables = _tables(job, store)
    batch_size = job.experiment.training.batch_size
    steps = training_steps(len(tables.train), batch_size=batch_size, ranks=how.ranks)
    standing = standing_of(folder)
    folder.epochs = standing.epochs
    schedule = Schedule.of(job.experiment, steps)
    setting = _Setting(job, how, folder, standing, tables, store, schedule)
    return _fit(setting)


def _fit(setting: _Setting) -> TrainingResult:
    job, folder, standing = setting.job, setting.folder, setting.standing
    provenance = Provenance(
        experiment=job.experiment,
        encoder=setting.tables.encoder,
        classes=isic.CLASSES,
        recipe=dict(setting.store.recipe),
        fold=job.fold,
        code=job.code,
    )
    bookkeeping = Bookkeeping(folder, provenance, job.tensorboard)
    module = Classifier(
        _model(setting),
        setting.tables,
        job.experiment,
        setting.schedule,
        start_epoch=standing.epochs,
        compiled=_compiles(setting),
    )
    trainer = _trainer(setting, bookkeeping)
    if trainer.is_global_zero:
        history.trim(folder.history, standing.epochs)
        _announce(setting)
    _run(setting, trainer, module)
    if trainer.is_global_zero:
        publish_results(folder, job.output, provenance)
    return TrainingResult(
        output=job.output,
        epochs=folder.epochs,
        best_epoch=bookkeeping.best_epoch,
        metrics=bookkeeping.best_metrics,
        stopped_early=bookkeeping.stopped_early,
    )


def _run(setting: _Setting, trainer: pl.Trainer, module: Classifier) -> None:
    """Fit; an error of the data names the images."""
    training = setting.job.experiment.training
    data = FoldData(
        setting.tables,
        setting.store.pixels if setting.job.experiment.model.image else None,
        batch_size=training.batch_size,
        seed=training.seed,
        resident=training.resident,
    )
    state = str(setting.folder.state) if setting.standing.epochs else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=state, weights_only=True)
    except NonFiniteLossError as error:
        raise _with_images(error, setting) from None


def _trainer(setting: _Setting, bookkeeping: Bookkeeping) -> pl.Trainer:
    standing = setting.standing
    # A training that is done goes through fit too, which then does nothing: every rank must have
    # read the folder before the first one removes it.
    epochs = standing.epochs if standing.finished else setting.schedule.epochs
    deterministic = setting.job.experiment.training.deterministic
    return pl.Trainer(
        **launch.trainer_arguments(setting.how),
        max_epochs=epochs,
        callbacks=[bookkeeping],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        benchmark=setting.how.accelerator == "gpu" and not deterministic,
        # An operation without a deterministic way is named in the log rather than refused.
        deterministic="warn" if deterministic else None,
    )


def _tables(job: TrainingJob, store: Store) -> FoldTables:
    catalogue: pd.DataFrame = read_catalogue(job.catalogue)
    return fold_tables(
        store,
        catalogue,
        read_splits(job.splits),
        fold=job.fold,
        fields=job.experiment.model.metadata_fields,
        exclude_sources=job.experiment.training.exclude_sources,
    )


def _model(setting: _Setting) -> FusionModel:
    """The model with its starting weights, which a resumed training overwrites."""
    job = setting.job
    settings, training = job.experiment.model, job.experiment.training
    torch.manual_seed(training.seed)
    model = FusionModel(settings, setting.tables.encoder.width)
    if settings.image and settings.pretrained and not setting.standing.epochs:
        if job.weights is None:
            raise InputError(
                "model.pretrained: true, but no file of weights was given: "
                "give --weights, or set model.pretrained: false"
            )
        model.load_backbone(job.weights)
    model = model.to(memory_format=torch.channels_last)
    if setting.how.accelerator == "gpu":
        torch.set_float32_matmul_precision("high")
    return model


def _compiles(setting: _Setting) -> bool:
    training = setting.job.experiment.training
    if training.compile != "auto":
        return training.compile == "on"
    images = training.max_epochs * len(setting.tables.train) // setting.how.ranks
    repays = setting.how.accelerator == "gpu" and images >= COMPILE_IMAGES
    return repays and not training.deterministic and _has_compiler()


def _has_compiler() -> bool:
    """Whether there is the C compiler that torch.compile needs: not on every node."""
    return any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))


def _announce(setting: _Setting) -> None:
    job, how, tables = setting.job, setting.how, setting.tables
    device = how.accelerator.upper()
    for notice in how.notices:
        logger.info("%s", notice)
    logger.info(
        "training %s, fold %d: %s, %d for validation; "
        "%s on %s, precision %s, %s of %d images an epoch",
        *(job.experiment.name, job.fold),
        *(counted(len(tables.train), "training image"), len(tables.val)),
        counted(how.ranks, f"{device} process", f"{device} processes"),
        *(counted(how.nodes, "node"), how.precision),
        *(counted(setting.schedule.steps_per_epoch, "step"), job.experiment.training.batch_size),
    )
    if setting.standing.epochs:
        logger.info(
            "resuming after epoch %d from %s", setting.standing.epochs - 1, setting.folder.path
        )
    for name in other_folders(job.output, setting.folder.path):
        logger.info("%s is left from other settings or code: remove it when not wanted", name)


def _with_images(error: NonFiniteLossError, setting: _Setting) -> NonFiniteLossError:
    """The same error, naming a table of the images of the batch."""
    training = setting.job.experiment.training
    images = setting.tables.train.images
    order = training_order(len(images), seed=training.seed, epoch=error.epoch)
    start = error.step * training.batch_size
    batch = [images[position] for position in order[start : start + training.batch_size]]
    path: Path = setting.folder.path / f"not-finite-epoch{error.epoch}-step{error.step}.csv"
    if launch.rank_of(os.environ) == 0:
        write_table(path, pd.DataFrame({"image": batch}))
    return NonFiniteLossError(error.epoch, error.step, str(path))


def _quieten(rank: int) -> None:
    """Leave the log to this package, and to rank 0."""
    if rank:
        logging.getLogger("melanoma").setLevel(logging.ERROR)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("pytorch_lightning", "lightning_fabric"):
        warnings.filterwarnings("ignore", module=module)
