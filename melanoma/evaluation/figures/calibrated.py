"""Reliability diagrams and the decision curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from melanoma import style
from melanoma.evaluation.decisions import BENEFIT_PREVALENCES, at_prevalence
from melanoma.evaluation.figures import parts

_KINDS = (("raw", "o", 1), ("calibrated", "s", 0))
_LINE = ("probability", "observed")
_TITLES = {"decision": "Predicted class", "melanoma": "Melanoma"}


def draw_reliability(
    table: pd.DataFrame, summary: Mapping[str, Mapping[str, Any]], path: Path, subset: str
) -> None:
    """Predicted against observed, before and after calibration, above the number of images.

    Args:
        table: reliability.csv.
        summary: "raw" and "calibrated" -> ece, debiased_error and melanoma_slope, of the subset.
        path: the figure.
        subset: the one shown.
    """
    rows = table[table["subset"] == subset]
    figure, axes = style.new_figure(
        13, 8.2, rows=2, columns=2, sharex="col", gridspec_kw={"height_ratios": [3, 1]}
    )
    with style.styled():
        for column, of in enumerate(_TITLES):
            top, bottom = axes[column], axes[2 + column]
            top.plot([0, 1], [0, 1], color=style.MUTED, linestyle=":", linewidth=1.2)
            for kind, marker, colour in _KINDS:
                part = rows[(rows["of"] == of) & (rows["probabilities"] == kind)]
                label = kind + _in_words(of, summary[kind])
                _diagram(top, part, style.SERIES_COLOURS[colour], marker, label)
                _histogram(bottom, part, style.SERIES_COLOURS[colour], kind)
            # Above the axes with the legend below it, where no point can be.
            top.set_title(f"{_TITLES[of]}, {parts.SUBSETS.get(subset, subset)}", pad=50)
            top.set_ylim(-0.02, 1.02)
            top.set_xlim(-0.02, 1.02)
            top.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
            # Only now: a bound of one end keeps the other from following what is drawn later.
            bottom.set_ylim(bottom=0.7)
            bottom.set_xlabel("predicted probability")
        axes[0].set_ylabel("share that came true")
        axes[2].set_ylabel("images")
        figure.supxlabel("bars: 95 % intervals, by lesion", fontsize=11)
    style.save_figure(figure, path)


def _in_words(of: str, summary: Mapping[str, Any]) -> str:
    """What sums a diagram up: the errors of the predicted class, the slope of melanoma."""
    names = {
        "decision": (("ece", "ECE"), ("debiased_error", "debiased")),
        "melanoma": (("melanoma_slope", "slope"), ("melanoma_intercept", "intercept")),
    }
    known = [(text, summary.get(name)) for name, text in names[of]]
    shown = [f"{text} {value:.3f}" for text, value in known if value is not None]
    return f" ({', '.join(shown)})" if shown else ""


def _diagram(axis: Axes, part: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    errors = np.abs(
        part[["observed_low", "observed_high"]].to_numpy().T - part["observed"].to_numpy()
    )
    # Nothing is known between bins that do not touch: no line joins them.
    apart = part["low"].to_numpy()[1:] > part["high"].to_numpy()[:-1] + 1e-9
    places = np.flatnonzero(apart) + 1
    line = (np.insert(part[name].to_numpy(float), places, np.nan) for name in _LINE)
    axis.plot(*line, color=colour)
    axis.errorbar(
        part["probability"],
        part["observed"],
        yerr=errors,
        color=colour,
        marker=marker,
        markersize=6,
        linestyle="none",
        elinewidth=1.2,
        label=label,
    )


def _histogram(axis: Axes, part: pd.DataFrame, colour: str, kind: str) -> None:
    """Counts on a log scale: most images lie in the outermost bins."""
    middle = (part["low"] + part["high"]) / 2
    shift = -0.021 if kind == "raw" else 0.021
    axis.bar(middle + shift, part["n"], width=0.04, color=colour)
    axis.set_yscale("log")
    axis.grid(visible=False, axis="x")


def draw_decision_curve(table: pd.DataFrame, path: Path, *, subset: str) -> None:
    """Net benefit of the model, of excising every lesion and of excising none.

    Beside it the same where melanoma is rarer or commoner, as a share of what finding every
    melanoma without a false alarm would bring there: 1 at best.

    Args:
        table: decision_curve.csv.
        path: the figure.
        subset: the one shown.
    """
    rows = table[table["subset"] == subset]
    figure, axes = style.new_figure(14, 5.6, columns=2)
    axis, percent = axes[0], 100 * rows["threshold"]
    with style.styled():
        axis.fill_between(
            percent,
            rows["model_low"],
            rows["model_high"],
            color=style.SERIES_COLOURS[0],
            alpha=0.2,
            linewidth=0,
        )
        axis.plot(percent, rows["model"], color=style.SERIES_COLOURS[0], label="model (95 %)")
        axis.plot(
            percent, rows["all"], color=style.SERIES_COLOURS[1], linestyle="--", label="excise all"
        )
        axis.axhline(0, color=style.INK, linewidth=1.2, label="excise none")
        top = np.nanmax([rows["model"].max(), rows["model_high"].max(), 0.01])
        axis.set_ylim(-0.15 * top, 1.08 * top)
        axis.set_xlim(0, percent.max())
        axis.set_xlabel("melanoma probability from which a lesion is excised (%)")
        axis.set_ylabel("net benefit")
        axis.set_title(f"Decision curve, {parts.SUBSETS.get(subset, subset)}")
        axis.legend(loc="upper right")
        _other_prevalences(axes[1], rows)
    style.save_figure(figure, path)


def _other_prevalences(axis: Axes, rows: pd.DataFrame) -> None:
    """Relative net benefit at each of `BENEFIT_PREVALENCES`; dashed: of excising every lesion."""
    percent = 100 * rows["threshold"]
    for number, share in enumerate(BENEFIT_PREVALENCES):
        suffix, colour = at_prevalence(share), style.SERIES_COLOURS[number]
        axis.plot(
            percent, rows[f"model{suffix}"] / share, color=colour, label=f"{100 * share:.0f} %"
        )
        axis.plot(percent, rows[f"all{suffix}"] / share, color=colour, linestyle="--", lw=1)
    axis.axhline(0, color=style.INK, linewidth=1.2)
    axis.set_ylim(-0.15, 1.08)
    axis.set_xlim(0, percent.max())
    axis.set_xlabel("melanoma probability from which a lesion is excised (%)")
    axis.set_ylabel("net benefit, as a share of the prevalence")
    axis.set_title("At other prevalences (dashed: excise all)")
    axis.legend(loc="upper right", title="prevalence")
