"""The pages that speak of all experiments, and the model card of the main one."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from melanoma import config, isic
from melanoma.evaluation.comparison_table import ONE_SEED, several_seeds
from melanoma.evaluation.decision_file import read_decision
from melanoma.evaluation.outputs import NEEDED, read_numbers
from melanoma.files import read_json, sha256_of, write_text
from melanoma.notice import DATA_LICENCE, DRAWN, DRAWN_ATTRIBUTION
from melanoma.pages import card as model_card
from melanoma.pages import headline, plan
from melanoma.pages import provenance as provenance_page
from melanoma.pages.assembly import build
from melanoma.pages.document import Document, Paragraph, to_html, to_markdown
from melanoma.pages.headline import Evaluated


@dataclass(frozen=True)
class Sources:
    """Files that the summary is drawn from.

    Attributes:
        metrics: metrics.json of each experiment, the main one first.
        decisions: decision.json of each experiment's models together, likewise.
        histories: training_curves.csv, likewise.
        per_class: per_class.csv of the main experiment.
        subgroups: subgroups.csv, likewise.
        audit: splits_audit.csv.
        provenance: provenance.json.
        ground_truth: of the training set, which tells whether it is the official one.
        archive: of the training images, which tells whether they are drawn.
        checks: checks.csv of the main experiment's heat maps; None where it sees no image.
    """

    metrics: Sequence[Path]
    decisions: Sequence[Path]
    histories: Sequence[Path]
    per_class: Path
    subgroups: Path
    audit: Path
    provenance: Path
    ground_truth: Path
    archive: Path
    checks: Path | None = None


def write_summary(
    experiments: Sequence[config.Experiment],
    sources: Sources,
    *,
    results: Path,
    pages: Sequence[Path],
    opening: Path,
    card: Path,
    models: Sequence[str],
    captions: Mapping[str, str],
) -> None:
    """Write the pages of `plan.SUMMARY`, the report's first words and the model card.

    Args:
        experiments: the main one first.
        sources: what is read.
        results: folder that the comparison's inputs lie in.
        pages: file of each page of `plan.SUMMARY`.
        opening: reStructuredText to write.
        card: Markdown to write.
        models: checkpoints of the main experiment.
        captions: name of a caption -> its text.
    """
    found = [
        Evaluated(experiment, read_json(metrics), pd.read_csv(history), read_decision(decision))
        for experiment, metrics, history, decision in zip(
            experiments, sources.metrics, sources.histories, sources.decisions, strict=True
        )
    ]
    audit = pd.read_csv(sources.audit, dtype="str", keep_default_na=False)
    provenance = read_json(sources.provenance)
    official = is_official(sources.ground_truth)
    origin = _origin(official, sources.archive)
    described = model_card.document(
        found[0],
        audit=audit,
        per_class=pd.read_csv(sources.per_class),
        subgroups=read_numbers(sources.subgroups, NEEDED["subgroups.csv"]),
        provenance=provenance,
        models=models,
        official=official,
        origin=origin,
        checks=None if sources.checks is None else pd.read_csv(sources.checks),
    )
    documents: dict[str, Document] = {
        plan.HEADLINE.name: headline.document(found, audit, captions[plan.HEADLINE.caption]),
        plan.COMPARISON.name: _comparison(captions[plan.COMPARISON.caption], results),
        plan.MODEL_CARD.name: described,
        plan.PROVENANCE.name: provenance_page.document(
            provenance, captions[plan.PROVENANCE.caption]
        ),
    }
    for path, page in zip(pages, plan.SUMMARY, strict=True):
        write_text(path, to_html(documents[page.name]))
    write_text(opening, f"{headline.opening(found, audit)}\n{origin}\n")
    write_text(card, to_markdown(described))


def _comparison(caption: str, results: Path) -> Document:
    """The page of all experiments; says why no difference is marked where none can be."""
    page = build(plan.COMPARISON, caption, results)
    table = pd.read_csv(results / plan.COMPARISON.tables[0])
    if table["experiment"].nunique() < 2 or several_seeds(table):
        return page
    why = Paragraph(f"No difference is marked. There is {ONE_SEED}.")
    return replace(page, blocks=(page.blocks[0], why, *page.blocks[1:]))


def _origin(official: bool, archive: Path) -> str:
    """Where the images come from, in a sentence."""
    if official:
        return DATA_LICENCE
    return DRAWN if is_drawn(archive) else model_card.NOT_OFFICIAL


def is_drawn(archive: Path) -> bool:
    """Whether an archive of images says that it was drawn, byte for byte."""
    wanted = DRAWN_ATTRIBUTION.encode()
    with zipfile.ZipFile(archive) as opened:
        return any(
            member.file_size == len(wanted) and opened.read(member) == wanted
            for member in opened.infolist()
            if member.filename.endswith("ATTRIBUTION.txt")
        )


def is_official(ground_truth: Path) -> bool:
    """Whether a training set's ground truth is the official file, byte for byte."""
    return sha256_of(ground_truth) == isic.OFFICIAL_FILES["train", "ground_truth"].sha256
