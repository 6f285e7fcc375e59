"""Training curves of all folds and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from melanoma import style
from melanoma.evaluation.best_epoch import TRAINING, best_epochs, best_text
from melanoma.evaluation.figures import parts
from melanoma.seeds import Run

_PANELS = (
    ("Loss", ("train_loss", "val_loss")),
    ("Validation: by predicted class", ("val_balanced_accuracy", "val_accuracy")),
    ("Validation: F1 and AUROC", ("val_macro_f1", "val_macro_auroc")),
    ("Learning rate", ("lr_head", "lr_stem")),
    ("Images per second", ("images_per_second",)),
    ("GPU memory (GB)", ("gpu_memory_gb",)),
)

_NAMES = {
    "train_loss": "training",
    "val_loss": "validation",
    "val_balanced_accuracy": "balanced accuracy",
    "val_accuracy": "accuracy",
    "val_macro_f1": "macro F1",
    "val_macro_auroc": "macro AUROC",
    "lr_head": "head",
    "lr_stem": "stem",
}


def join_histories(histories: Mapping[Run, Path]) -> pd.DataFrame:
    """The trainings' histories one below the other, with columns fold and seed in front.

    Args:
        histories: history.csv of each training.
    """
    tables = []
    for run, path in histories.items():
        table = pd.read_csv(path)
        for place, (name, number) in enumerate(zip(TRAINING, run, strict=True)):
            table.insert(place, name, number)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def draw_history(table: pd.DataFrame, path: Path) -> None:
    """Loss, figures, rates, speed and memory by epoch; a dotted line where a stage begins.

    Stars on the validation's lines mark the epoch that the model is from.

    Args:
        table: from `join_histories`.
        path: the figure.
    """
    table = table.assign(gpu_memory_gb=table["gpu_memory_mb"] / 1000)
    figure, axes = style.new_figure(16, 8, rows=2, columns=3, sharex=True)
    with style.styled():
        for axis, (title, columns) in zip(axes, _PANELS, strict=True):
            for number, column in enumerate(columns):
                _lines(axis, table, column, style.SERIES_COLOURS[number])
                _mark_best(axis, table, column, style.SERIES_COLOURS[number])
            _stages(axis, table)
            axis.set_title(title)
            if len(columns) > 1:
                axis.legend(loc="best")
        axes[1].set_ylim(0, 1.02)
        axes[2].set_ylim(0, 1.02)
        if (table["lr_head"] > 0).any():
            axes[3].set_yscale("log")
        axes[4].set_ylim(bottom=0)
        axes[5].set_ylim(bottom=0)
        if not table["gpu_memory_gb"].any():
            axes[5].clear()
            parts.note(axes[5], "no GPU: trained on the CPU")
            axes[2].tick_params(axis="x", labelbottom=True)
        # Last, since clearing one of axes that share their epochs resets them all.
        axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        first, last = table["epoch"].min(), table["epoch"].max()
        if first == last:
            axes[0].set_xlim(first - 0.5, last + 0.5)
            axes[0].set_xticks([first])
        count = table.groupby(list(TRAINING)).ngroups
        note = f"; one line for each of {count} trainings" if count > 1 else ""
        figure.supxlabel(
            f"epoch, from 0{note}; dotted: the backbone starts to learn; "
            f"star: what model.ckpt is from ({best_text(table)})",
            fontsize=11,
        )
    style.save_figure(figure, path)


def _lines(axis: Axes, table: pd.DataFrame, column: str, colour: str) -> None:
    label = _NAMES.get(column)
    trainings = table.groupby(list(TRAINING), sort=True)
    several = trainings.ngroups > 1
    for _, rows in trainings:
        # A learning rate of zero has no place on a log scale: the stem's while it is frozen.
        values = rows[column].where(rows[column] > 0) if column.startswith("lr_") else rows[column]
        axis.plot(
            rows["epoch"],
            values,
            color=colour,
            alpha=0.7 if several else 1.0,
            linewidth=1.5 if several else 2.0,
            marker="o" if len(rows) < 3 else "",
            label=label,
        )
        label = None


def _mark_best(axis: Axes, table: pd.DataFrame, column: str, colour: str) -> None:
    """A star where each model is from, on lines of the validation."""
    if not column.startswith("val_"):
        return
    for run, epoch in best_epochs(table).items():
        own = (table["fold"] == run.fold) & (table["seed"] == run.seed)
        row = table[own & (table["epoch"] == epoch)]
        axis.plot(
            row["epoch"],
            row[column],
            linestyle="none",
            marker="*",
            markersize=15,
            color=colour,
            markeredgecolor="white",
            zorder=3,
        )


def _stages(axis: Axes, table: pd.DataFrame) -> None:
    """Mark the epochs in which the first training changes to another stage."""
    first = table[(table["fold"] == 0) & (table["seed"] == 0)]
    begins = first["epoch"][first["stage"] != first["stage"].shift()].iloc[1:]
    for epoch in begins:
        axis.axvline(epoch - 0.5, color=style.MUTED, linestyle=":", linewidth=1.5)
