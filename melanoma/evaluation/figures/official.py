"""The score on the official test set, class by class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melanoma import style
from melanoma.evaluation.figures import classes, parts

_TITLES = {"nine_class": "nine classes", "eight_class": "known diagnoses alone"}


def draw_official(numbers: Path, output: Path) -> None:
    """Draw the nine-class confusion and every class's recall.

    Args:
        numbers: folder that `evaluate_official` wrote.
        output: folder that gets confusion.svg and per_class.svg; may be the same.
    """
    counts = pd.read_csv(numbers / "confusion.csv")
    classes.draw_confusion(
        counts, output / "confusion.svg", subset="official", counted="Unweighted images"
    )
    scores, per_class = (pd.read_csv(numbers / f"{n}.csv") for n in ("scores", "per_class"))
    draw_recalls(scores, per_class, output / "per_class.svg")


def draw_recalls(scores: pd.DataFrame, per_class: pd.DataFrame, path: Path) -> None:
    """Recall of every class over nine and over eight classes; the dashed line is their mean.

    Args:
        scores: scores.csv.
        per_class: per_class.csv.
        path: the figure.
    """
    figure, axes = style.new_figure(13, 5.4, columns=2, sharey=True)
    with style.styled():
        for axis, (score, title) in zip(axes, _TITLES.items(), strict=True):
            rows = per_class[(per_class["images"] == "all") & (per_class["score"] == score)]
            places = [float(place) for place in range(len(rows))]
            colours = [style.CLASS_COLOURS[str(name)] for name in rows["class"]]
            parts.dots(axis, rows, "recall", places, colours=colours)
            parts.limit(axis, rows, "recall")
            head = scores[(scores["images"] == "all") & (scores["score"] == score)].iloc[0]
            axis.axvline(head["balanced_accuracy"], color=style.INK, linestyle="--", linewidth=1.5)
            axis.set_title(f"{title}: {_with_ends(head)}")
            axis.set_xlabel("recall, images weighted")
        nine = per_class[(per_class["images"] == "all") & (per_class["score"] == "nine_class")]
        labels = [f"{row['class']}  (n = {row['n']}, unweighted)" for _, row in nine.iterrows()]
        parts.rows_axis(axes[0], labels, [float(place) for place in range(len(nine))])
        note = parts.interval_note(per_class[per_class["images"] == "all"], ["recall"])
        figure.supxlabel(
            "official test, images weighted as the challenge weighs them; dashed: mean recall; "
            f"{note}",
            fontsize=11,
        )
    style.save_figure(figure, path)


def _with_ends(head: pd.Series) -> str:
    """The balanced accuracy, with its interval where there is one."""
    text = f"{head['balanced_accuracy']:.3f}"
    if pd.isna(head["balanced_accuracy_low"]):
        return text
    low, high = head["balanced_accuracy_low"], head["balanced_accuracy_high"]
    return f"{text}  [{low:.3f}, {high:.3f}]"
