"""Which pages the report has, in reading order, and what each is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

CATEGORIES = ("Data", "Training", "Evaluation", "Explanation", "Provenance")
"""The report's chapters in reading order."""

NO_DUPLICATES = "No near-duplicate pair was found (or looked for: splits.near_duplicates)."

SUBSETS = {"val": "validation", "test": "test", "official": "official test"}


@dataclass(frozen=True)
class Page:
    """One page of the report.

    Attributes:
        name: of the file, without suffix.
        category: one of `CATEGORIES`.
        title: heading, and label in the report.
        caption: workflow/report/{caption}.rst, which tells what to look for.
        figures: paths below the results folder; "{experiment}" stands for the experiment.
        tables: CSV files that are shown, likewise.
        files: files that can be saved from the page alone, likewise.
        subset: whose figures they are; "all" for several.
        empty: the sentence in place of a table without rows.
        folded: tables are opened on demand, since the figure says it all.
    """

    name: str
    category: str
    title: str
    caption: str
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    subset: str = "all"
    empty: str = "No rows."
    folded: bool = False

    def inputs(self, experiment: str = "") -> list[str]:
        """Everything that the page is made of, as paths below the results folder."""
        paths = (*self.figures, *self.tables, *self.files)
        return [path.replace("{experiment}", experiment) for path in paths]


def category(name: str) -> str:
    """A chapter's name with its number, since reports sort chapters by name."""
    return f"{CATEGORIES.index(name) + 1} {name}"


DATA = (
    Page("classes", "Data", "1 examples of each class", "classes", ("sheets/classes.png",)),
    Page("hair_removal", "Data", "2 hair removal", "hair_removal", ("sheets/hair_removal.png",)),
    Page("splits", "Data", "3 splits", "splits", tables=("splits_audit.csv",)),
    Page(
        "duplicates",
        "Data",
        "4 near-duplicates",
        "duplicates",
        ("sheets/duplicates.png",),
        ("catalogue/train_duplicates.csv",),
        empty=NO_DUPLICATES,
    ),
    Page(
        "audit",
        "Data",
        "5 inconsistencies",
        "audit",
        tables=("catalogue/train_audit.csv",),
        empty="Nothing inconsistent was found.",
    ),
    Page(
        "quarantine",
        "Data",
        "6 quarantine",
        "quarantine",
        tables=("catalogue/train_quarantine.csv",),
        empty="Every image decodes: none was left out.",
    ),
)

_TRAINING = Page(
    "training_curves",
    "Training",
    "1 training curves",
    "training_curves",
    ("evaluation/{experiment}/training_curves.svg",),
    ("evaluation/{experiment}/training_curves.csv",),
    folded=True,
)

_CONFUSION = Page(
    "confusion",
    "Evaluation",
    "3 confusion matrix",
    "confusion",
    ("evaluation/{experiment}/confusion_{subset}.svg",),
    ("evaluation/{experiment}/confusion_{subset}.csv",),
    folded=True,
)

_EVALUATION = (
    Page(
        "per_class",
        "Evaluation",
        "4 figures of each class",
        "per_class",
        ("evaluation/{experiment}/per_class.svg",),
        ("evaluation/{experiment}/per_class.csv",),
    ),
    Page(
        "curves",
        "Evaluation",
        "5 ROC and precision-recall",
        "curves",
        ("evaluation/{experiment}/roc.svg", "evaluation/{experiment}/pr.svg"),
        files=(
            "evaluation/{experiment}/roc.csv",
            "evaluation/{experiment}/pr.csv",
            "evaluation/{experiment}/bands.csv",
        ),
    ),
    Page(
        "reliability",
        "Evaluation",
        "6 calibration",
        "reliability",
        ("evaluation/{experiment}/reliability.svg",),
        ("evaluation/{experiment}/calibration.csv", "evaluation/{experiment}/reliability.csv"),
        folded=True,
    ),
    Page(
        "operating_points",
        "Evaluation",
        "7 operating points",
        "operating_points",
        ("evaluation/{experiment}/operating_points.svg",),
        (
            "evaluation/{experiment}/operating_points.csv",
            "evaluation/{experiment}/predictive_values.csv",
        ),
        empty="Validation has too few lesions to choose a threshold on.",
    ),
    Page(
        "decision_curve",
        "Evaluation",
        "8 decision curve",
        "decision_curve",
        ("evaluation/{experiment}/decision_curve.svg",),
        ("evaluation/{experiment}/decision_curve.csv",),
        folded=True,
    ),
    Page(
        "subgroups",
        "Evaluation",
        "9 subgroups",
        "subgroups",
        ("evaluation/{experiment}/subgroups.svg",),
        ("evaluation/{experiment}/subgroups.csv",),
    ),
)

METADATA = Page(
    "metadata",
    "Explanation",
    "4 what metadata are worth",
    "metadata",
    ("evaluation/{experiment}/metadata.svg",),
    ("evaluation/{experiment}/metadata.csv",),
)
"""Of an experiment that uses metadata."""

_MATCHES = "catalogue/official_matches.csv"

OFFICIAL = Page(
    "index",
    "Evaluation",
    "official score",
    "official",
    ("official/per_class.svg", "official/confusion.svg"),
    (
        "official/scores.csv",
        "official/unknown.csv",
        "official/per_class.csv",
        "official/confusion.csv",
        _MATCHES,
    ),
    subset="official",
    empty="No image of the official test set is also in training.",
)
"""Written into results/official, which alone is asked for where the official test set is scored."""


def official_page(*, matched: bool) -> Page:
    """`OFFICIAL`, with the images that are also in training where these were looked for."""
    kept = tuple(table for table in OFFICIAL.tables if matched or table != _MATCHES)
    return replace(OFFICIAL, tables=kept)


COMPARISON = Page(
    "comparison",
    "Evaluation",
    "2 comparison of experiments",
    "comparison",
    ("evaluation/comparison.svg",),
    ("evaluation/comparison.csv",),
)

HEADLINE = Page("headline", "Evaluation", "1 headline figures", "headline")

_EXPLANATION = (
    Page(
        "gradcam_sheet",
        "Explanation",
        "2 contact sheet",
        "gradcam_sheet",
        ("gradcam/sheet.png",),
        files=("gradcam/index.csv",),
    ),
    Page(
        "gradcam_checks",
        "Explanation",
        "3 checks of the maps",
        "gradcam_checks",
        ("gradcam/checks.svg",),
        ("gradcam/checks.csv",),
        empty="There is no image to explain.",
        folded=True,
    ),
)

MODEL_CARD = Page("model_card", "Provenance", "1 model card", "model_card")
PROVENANCE = Page("provenance", "Provenance", "2 provenance", "provenance")
SUMMARY = (HEADLINE, COMPARISON, MODEL_CARD, PROVENANCE)


def experiment_pages(subsets: Sequence[str]) -> tuple[Page, ...]:
    """The pages of one experiment.

    Args:
        subsets: those evaluated, e.g. "val" and "test".
    """
    whole = subsets[0] if len(subsets) == 1 else "all"
    return (
        replace(_TRAINING, subset=whole),
        *(_of_subset(_CONFUSION, subset) for subset in reversed(subsets)),
        *(replace(page, subset=whole) for page in _EVALUATION),
    )


def explanation_pages(subset: str) -> tuple[Page, ...]:
    """The pages on the heat maps, beside "1 gallery", which is a page by itself.

    Args:
        subset: whose images are explained.
    """
    return tuple(replace(page, subset=subset) for page in _EXPLANATION)


def _of_subset(page: Page, subset: str) -> Page:
    return replace(
        page,
        name=f"{page.name}_{subset}",
        figures=tuple(path.replace("{subset}", subset) for path in page.figures),
        tables=tuple(path.replace("{subset}", subset) for path in page.tables),
        subset=subset,
    )
