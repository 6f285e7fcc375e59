"""From figures and tables in the results folder to the report's pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from melanoma.files import write_text
from melanoma.pages.document import (
    Block,
    Document,
    Download,
    Paragraph,
    Picture,
    Table,
    to_html,
)
from melanoma.pages.headline import FIGURES
from melanoma.pages.numbers import NO_INTERVAL, lacks_intervals, number_text
from melanoma.pages.plan import SUBSETS, Page
from melanoma.splits import PARTS

_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}

_LARGE = 400_000
"""Bytes from which on a bitmap is embedded as JPEG, a fifth of the size."""

_JPEG_QUALITY = 88

_NAMES = frozenset({"figure", "point"})
"""Columns that hold names of the code, written with underscores."""

_TEXTS = dict.fromkeys(("image", "image_a", "image_b", "lesion_a", "lesion_b", "member"), "str")
"""Columns of the user's own names, which may look like numbers or like missing values."""

_HEADINGS = {
    # Resampled are lesions with their near-duplicates.
    "groups": "lesions",
    "f1": "F1",
    "auroc": "AUROC",
    "ppv": "PPV",
    "npv": "NPV",
    "macro_auroc": "macro AUROC",
    "balanced_accuracy_difference": "its difference to all others",
    "melanoma_auroc": "melanoma AUROC",
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "val_balanced_accuracy": "validation balanced accuracy",
    "val_macro_f1": "validation macro F1",
    "val_weighted_f1": "validation weighted F1",
    "val_macro_auroc": "validation macro AUROC",
    "lr_head": "learning rate of the head",
    "lr_stem": "learning rate of the stem",
    "gpu_memory_mb": "GPU memory (MB)",
}
"""Columns that are shown under another name."""

_FIGURES = {
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "ece": "calibration error, 15 bins",
    "debiased_error": "calibration error beyond chance",
    "melanoma_slope": "calibration slope of melanoma",
    "melanoma_intercept": "calibration intercept of melanoma",
    "melanoma_in_the_large": "calibration in the large of melanoma",
}
"""Figures of calibration.csv."""

_TITLES = {
    "/calibration.csv": "Calibration in numbers",
    "/reliability.csv": "Points of the diagram",
    "official/unknown.csv": "When UNK is said, as chosen on validation",
    "predictive_values.csv": "Predictive values at other prevalences",
    "official/scores.csv": "Scores",
    "official/per_class.csv": "Each class",
    "official/confusion.csv": "True class by row, predicted class by column",
    "official_matches.csv": "Official test images (a) that show a photograph of training (b)",
}
"""Title of a table where a page has several, by the end of its path."""


def write_pages(
    pages: Mapping[Path, Page], captions: Mapping[str, str], results: Path, experiment: str = ""
) -> None:
    """Write pages.

    Args:
        pages: file to write -> what it is made of.
        captions: name of a caption -> its text; line ends count as blanks.
        results: folder that the pages' inputs lie in.
        experiment: whose pages they are, if one's.
    """
    for path, page in pages.items():
        write_text(path, to_html(build(page, captions[page.caption], results, experiment)))


def build(page: Page, caption: str, results: Path, experiment: str = "") -> Document:
    """One page's content.

    Args:
        page: what it is made of.
        caption: tells what to look for.
        results: folder that the page's inputs lie in.
        experiment: whose page it is, if one's.
    """

    def paths(names: Sequence[str]) -> list[Path]:
        return [results / name.replace("{experiment}", experiment) for name in names]

    title = page.title.lstrip("0123456789 ")
    heading = f"{title[0].upper()}{title[1:]}"
    if page.name.endswith(f"_{page.subset}"):
        heading += f", {SUBSETS[page.subset]}"
    tables = [_read(path) for path in paths(page.tables)]
    blocks: list[Block] = [Paragraph(" ".join(caption.split()))]
    if not tables or any(map(len, tables)):
        blocks += [picture(path, title) for path in paths(page.figures)]
    for path, table in zip(paths(page.tables), tables, strict=True):
        name = _title(path) or ("The numbers" if page.folded else "")
        shown = Table(table, page.empty, _HEADINGS, title=name, folded=page.folded)
        # Several empty tables of a page have one sentence.
        if len(table) or not any(isinstance(b, Table) and not len(b.table) for b in blocks):
            blocks.append(shown)
        blocks += [Paragraph(NO_INTERVAL)] if lacks_intervals(table) else []
    saved = paths([*page.tables, *page.files])
    blocks += [Download(path.name, path.read_bytes(), "text/csv") for path in saved]
    return Document(f"{heading}: {experiment}" if experiment else heading, tuple(blocks))


def _title(path: Path) -> str:
    return next((title for end, title in _TITLES.items() if path.as_posix().endswith(end)), "")


def _read(path: Path) -> pd.DataFrame:
    """A table as it is shown: names in words, and no column that is empty throughout."""
    if path.name != "splits_audit.csv":
        table = pd.read_csv(path, dtype=_TEXTS, keep_default_na=False, na_values=[""])
        for column in _NAMES & set(table.columns):
            table[column] = [
                (FIGURES | _FIGURES).get(str(name), str(name).replace("_", " "))
                for name in table[column]
            ]
        return table.dropna(axis="columns", how="all") if len(table) else table
    # Counts and shares stand in one column: each number is written by itself.
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    for column in (*PARTS, "all"):
        table[column] = [_number(text) for text in table[column]]
    return table


def _number(text: str) -> str:
    return number_text(float(text), whole="." not in text) if text else ""


def picture(path: Path, alt: str) -> Picture:
    """A figure from its file; a large bitmap as JPEG.

    Args:
        path: .svg or .png.
        alt: what it shows.
    """
    data = path.read_bytes()
    if path.suffix == ".png" and len(data) > _LARGE:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        smaller = cv2.imencode(".jpg", pixels, options)[1].tobytes()
        return Picture(smaller, "image/jpeg", alt, f"{path.stem}.jpg")
    return Picture(data, _MEDIA[path.suffix], alt, path.name)
