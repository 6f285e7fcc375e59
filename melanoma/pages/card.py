"""The model card: what a trained classifier is, what it was tried on, and what it is not for.

Sections after Mitchell et al., "Model cards for model reporting", FAT* 2019, arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from melanoma import isic
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.pages import heat_maps
from melanoma.pages.decision import decision_texts
from melanoma.pages.document import Block, Document, Heading, Paragraph, Points, Table
from melanoma.pages.headline import (
    Evaluated,
    figures_blocks,
    images_text,
    model_text,
    point_text,
    sizes_text,
    training_text,
)
from melanoma.pages.numbers import NO_INTERVAL, counted, lacks_intervals

NOT_OFFICIAL = (
    "The images are not the official ISIC 2019 training set: where they come from, whom they show "
    "and under what licence they may be used is for their owner to say."
)

_HEADINGS = {
    "auroc": "AUROC",
    "melanoma_auroc": "melanoma AUROC",
    "balanced_accuracy_difference": "its difference to all others",
}
_CLASS_COLUMNS = ("class", "support", "recall", "precision", "auroc")
_GROUP_COLUMNS = (
    "variable",
    "part",
    "images",
    "melanomas",
    "shared_classes",
    "balanced_accuracy",
    "balanced_accuracy_difference",
    "melanoma_auroc",
)


def document(
    one: Evaluated,
    *,
    audit: pd.DataFrame,
    per_class: pd.DataFrame,
    subgroups: pd.DataFrame,
    provenance: Mapping[str, Any],
    models: Sequence[str],
    official: bool,
    origin: str,
    checks: pd.DataFrame | None = None,
) -> Document:
    """The card of one experiment.

    Args:
        one: the experiment and its metrics.
        audit: splits_audit.csv, as text.
        per_class: per_class.csv.
        subgroups: subgroups.csv.
        provenance: provenance.json.
        models: the checkpoints, one for each fold and seed.
        official: trained on the official ISIC 2019 data, whose weaknesses are known.
        origin: where the images come from, in a sentence.
        checks: checks.csv of its heat maps, None where it has none.
    """
    subset = one.subsets[-1]
    blocks: list[Block] = [
        Paragraph(NO_MEDICAL_DEVICE),
        *_details(one, provenance, models),
        *_use(),
        *_data(one, audit, origin),
        *_figures(one, subset, per_class),
        Heading("Calibration and thresholds"),
        Points(tuple(decision_texts(one.decision))),
        *_groups(subset, subgroups),
        *_caveats(one, audit, checks, official=official),
    ]
    return Document(f"Model card: {one.name}", tuple(blocks))


def _details(one: Evaluated, provenance: Mapping[str, Any], models: Sequence[str]) -> list[Block]:
    settings = one.experiment
    versions = provenance["versions"]
    uses = {"dermoscopic images": settings.model.image, "metadata": settings.model.metadata}
    inputs = [name for name, used in uses.items() if used]
    facts = {
        "input": " and ".join(inputs),
        "output": f"probabilities of {len(isic.CLASSES)} diagnoses: {', '.join(isic.CLASSES)}",
        "model": model_text(settings.model),
        "images": images_text(settings.images) if settings.model.image else "not used",
        "training": training_text(settings.training, one.history),
        "checkpoints": ", ".join(models),
        "code": f"commit {provenance['commit']}",
        "made with": f"Python {versions['python']}, torch {versions['torch']}",
    }
    return [Heading("Model"), Table(_pairs(facts))]


def _pairs(facts: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({"property": list(facts), "value": list(facts.values())})


def _use() -> list[Block]:
    return [
        Heading("Intended use"),
        Points(
            (
                "Research on the classification of dermoscopic images, and comparison of methods "
                "on ISIC 2019.",
                "Not for diagnosis, triage or advice to anyone, by laymen or by physicians.",
                "Not for clinical photographs, histology, mucosa or nails: it saw none, and it "
                "has no class for a lesion of another kind, which it forces into one of the eight.",
            )
        ),
    ]


def _data(one: Evaluated, audit: pd.DataFrame, origin: str) -> list[Block]:
    excluded = one.experiment.training.exclude_sources
    texts = [
        f"It was {sizes_text(one, audit)}",
        "Parts are shared out by whole lesions and near-duplicates; thresholds and calibration "
        "come from validation alone.",
    ]
    if excluded:
        texts.append(f"Left out of training, not of evaluation: sources {', '.join(excluded)}.")
    texts.append(origin)
    return [Heading("Data"), *map(Paragraph, texts)]


def _figures(one: Evaluated, subset: str, per_class: pd.DataFrame) -> list[Block]:
    rows = per_class.loc[per_class["subset"] == subset]
    shown = [
        c for c in rows.columns if c.removesuffix("_low").removesuffix("_high") in _CLASS_COLUMNS
    ]
    return [
        Heading("Figures"),
        Paragraph(
            f"With 95 % intervals, resampled by lesion ({one.metrics['bootstrap']['resamples']} "
            f"resamples). {point_text(one)}"
        ),
        *figures_blocks(one),
        Paragraph(f"By class, {subset} images:"),
        *_table(rows[shown]),
    ]


def _table(rows: pd.DataFrame, empty: str = "No rows.") -> list[Block]:
    """A table, and why figures have no interval where some have one."""
    return [
        Table(rows, empty, _HEADINGS),
        *([Paragraph(NO_INTERVAL)] if lacks_intervals(rows) else []),
    ]


def _groups(subset: str, subgroups: pd.DataFrame) -> list[Block]:
    every = subgroups.loc[subgroups["subset"] == subset]
    rows = every.loc[every["suppressed"].isna()]
    shown = [
        c for c in rows.columns if c.removesuffix("_low").removesuffix("_high") in _GROUP_COLUMNS
    ]
    return [
        Heading("Subgroups"),
        Paragraph(
            f"{len(rows)} of {counted(len(every), 'subgroup')} of the {subset} images can be given "
            "every figure; subgroups.csv holds the others too, and says what they lack. Balanced "
            "accuracy is over the classes that all subgroups of a kind have."
        ),
        *_table(rows[shown], "No subgroup is large enough to judge."),
    ]


def _caveats(
    one: Evaluated, audit: pd.DataFrame, checks: pd.DataFrame | None, *, official: bool
) -> list[Block]:
    caveats = []
    if official:
        caveats += [
            "The images come from clinics in Vienna, Queensland, Barcelona and New York and show "
            "mostly light skin: on other skin, cameras and clinics the figures are unknown and "
            "likely worse.",
            "Not all diagnoses are proven by histology, and the share of melanomas is far above "
            "that of any screening.",
            "A missing anatomical site tells part of the source and so of the diagnosis: see the "
            "subgroups by source and by missing metadata.",
        ]
    by_image = audit.loc[audit["value"] == "image by image", one.subsets[-1]]
    if len(by_image):
        caveats.append(
            f"A split by image would have shared the lesions of {float(by_image.iloc[0]):.0%} of "
            f"the {one.subsets[-1]} images with training, and looked better for it."
        )
    found = one.metrics["calibration"][one.subsets[-1]]["calibrated"]
    error, beyond = found["ece"], found.get("debiased_error")
    if error is not None:
        told = f"{error:.3f}" + (f", {beyond:.3f} beyond chance" if beyond is not None else "")
        caveats.append(
            "Calibrated probabilities hold for the mix of diagnoses in these data (calibration "
            f"error {told}); where that differs they must be corrected."
        )
    caveats.append("Heat maps show where, not why, and nothing of the part that metadata plays.")
    if checks is not None and len(checks):
        caveats.append(heat_maps.verdict(checks))
    return [Heading("Caveats"), Points(tuple(caveats))]
