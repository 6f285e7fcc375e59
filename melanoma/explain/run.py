"""From a trained model and its predictions to a folder of explanations, written as a whole."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from melanoma import drawing, files, isic, style
from melanoma.explain import checks, gallery, panels
from melanoma.explain.cam import Heat, compute_maps
from melanoma.explain.figures import draw_checks
from melanoma.explain.panels import Example
from melanoma.explain.selection import COLUMNS, select_examples
from melanoma.pages.numbers import counted

if TYPE_CHECKING:
    from melanoma import config
    from melanoma.store import Store
    from melanoma.training.checkpoints import TrainedModel

log = logging.getLogger(__name__)

_METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "eigencam": "Eigen-CAM, the same for every class",
    "layercam": "LayerCAM",
}


def explain(
    model: TrainedModel,
    store: Store,
    catalogue: pd.DataFrame,
    predictions: pd.DataFrame,
    calibrated: pd.DataFrame,
    *,
    settings: config.GradCam,
    output: Path,
    subset: str = "test",
    folds: int = 1,
) -> pd.DataFrame:
    """Explain the most confident right and wrong answers of each class.

    Writes into `output`, which appears as a whole or not at all: index.csv (columns
    `selection.COLUMNS`), one PNG per example, sheet.png, index.html, checks.csv, checks.svg. A
    model that sees no image gets the same files, which say so.

    Args:
        model: whose maps are drawn: of several folds, the first.
        store: of the images that it was trained on.
        catalogue: with the diagnosis of every predicted image.
        predictions: raw probabilities (image and one column per class) of images that this
            model was not trained on.
        calibrated: the calibrated probabilities of the same images.
        settings: how many examples, which method.
        output: the folder; an old one is replaced.
        subset: what the images are, for the texts: val or test.
        folds: the number of models that the predictions are the mean of, for the texts.

    Returns:
        The table of examples.

    Raises:
        InputError: an image is missing from the catalogue, the store or `calibrated`.
    """
    name = model.experiment.name
    title = f"Heat maps of {name}, {subset} images"
    with files.atomic_folder(output) as folder:
        if model.model.backbone is None:
            table = pd.DataFrame(columns=list(COLUMNS))
            note = f"{name} sees metadata only (model.image: false): there is no image to explain."
            _write(folder, table, [], _no_checks(), title=title, facts=[note], note=note)
            return table
        table = select_examples(predictions, calibrated, catalogue, per_class=settings.per_class)
        log.info("%d examples, method %s", len(table), settings.method)
        examples, found = _explained(model, store, table, settings.method)
        facts = _facts(model, len(table), settings.method, subset, folds)
        note = f"There is no {subset} image to explain."
        _write(folder, table, examples, found, title=title, facts=facts, note=note)
    return table


def _explained(
    model: TrainedModel, store: Store, table: pd.DataFrame, method: str
) -> tuple[list[Example], pd.DataFrame]:
    """Examples with their maps, and the checks of these maps."""
    if table.empty:
        return [], _no_checks()
    pixels = np.asarray(store.pixels[store.rows(list(table["image"]))])
    encoded = model.encoder.encode(table) if model.experiment.model.metadata else None
    targets = np.array([model.classes.index(name) for name in table["predicted"]], dtype=np.int64)
    heat = compute_maps(model.model, pixels, encoded, targets, method=method)
    melanoma = np.full(len(table), model.classes.index(isic.MELANOMA), dtype=np.int64)
    melanoma_heat = compute_maps(model.model, pixels, encoded, melanoma, method=method)
    log.info("maps drawn; checking them")
    batch = checks.Batch(pixels, encoded, targets, heat)
    found = checks.run_checks(model.model, batch, list(table["diagnosis"]), method=method)
    _tell_of(checks.alike(found))
    return _examples(table, pixels, heat, melanoma_heat), found


def _tell_of(alike: float) -> None:
    """Say whether the maps depend on the weights."""
    if alike < checks.TOO_ALIKE:
        log.info("maps depend on the weights: rank correlation %.2f with random ones", alike)
    else:
        log.warning(
            "maps hardly depend on the weights (rank correlation %.2f with random ones, %.1f or "
            "more is too much, nan: all are empty): don't read them as what the classifier learnt",
            alike,
            checks.TOO_ALIKE,
        )


def _examples(
    table: pd.DataFrame, pixels: drawing.Pixels, heat: Heat, melanoma_heat: Heat
) -> list[Example]:
    rows = table.to_dict("records")
    return [
        Example({str(key): value for key, value in row.items()}, *pictures)
        for row, *pictures in zip(rows, pixels, heat, melanoma_heat, strict=True)
    ]


def _no_checks() -> pd.DataFrame:
    return pd.DataFrame(columns=list(checks.COLUMNS))


def _facts(model: TrainedModel, count: int, method: str, subset: str, folds: int) -> list[str]:
    """Sentences that open the gallery."""
    settings = model.experiment.model
    sentences = [
        f"{counted(count, f'{subset} image')} which {model.experiment.name} ({settings.backbone}"
        f"{', with metadata' if settings.metadata else ''}) answered with most confidence, "
        "rightly or wrongly.",
        f"A heat map ({_METHODS[method]}) shows where the image raised the score of a class: "
        "dark violet nowhere, yellow most. Each is scaled to its own maximum, so maps tell places "
        "and not strengths; they are coarse, they show where and not why, and the part that age, "
        "sex and site play is not in them.",
    ]
    if folds > 1:
        sentences.append(
            f"Probabilities are the mean of {folds} models, maps are those of fold {model.fold}."
        )
    return sentences


def _write(
    folder: Path,
    table: pd.DataFrame,
    examples: list[Example],
    found: pd.DataFrame,
    *,
    title: str,
    facts: list[str],
    note: str,
) -> None:
    files.write_table(folder / "index.csv", table)
    files.write_table(folder / "checks.csv", found)
    draw_checks(found, folder / "checks.svg", note=note)
    for example in examples:
        drawing.write_png(folder / example.told["file"], panels.draw_panel(example))
    sheet_title = title if examples else note
    drawing.write_png(folder / "sheet.png", panels.draw_contact_sheet(examples, title=sheet_title))
    svg = (folder / "checks.svg").read_text(encoding="utf-8") if examples else None
    page = gallery.render(
        examples, title=title, facts=facts, colours=style.CLASS_COLOURS, checks_svg=svg
    )
    files.write_text(folder / "index.html", page)
