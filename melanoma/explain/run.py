"""From a trained model and its predictions to a folder of explanations, written as a whole."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from melanoma import drawing, files, isic, style
from melanoma.explain import checks, gallery, panels, scale
from melanoma.explain.cam import Maps, compute_maps
from melanoma.explain.figures import draw_checks
from melanoma.explain.panels import Example
from melanoma.explain.selection import COLUMNS, select_examples
from melanoma.pages import heat_maps
from melanoma.pages.numbers import counted

if TYPE_CHECKING:
    from melanoma import config
    from melanoma.store import Store
    from melanoma.training.checkpoints import TrainedModel

log = logging.getLogger(__name__)

INDEX_COLUMNS = (*COLUMNS, "heat_maximum", "melanoma_heat_maximum", "grid")
"""Columns of index.csv: those of the choice; what each map was divided by (weighted activations,
0 without heat; comparable within one network and method); cells of the maps, e.g. "7 x 7"."""

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
    """Explain right and wrong answers of each class, the most confident and random ones.

    Writes into `output`, which appears as a whole or not at all: index.csv (columns
    `INDEX_COLUMNS`), one PNG per example, sheet.png, index.html, checks.csv, checks.svg. A
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
        index.csv.

    Raises:
        InputError: an image is missing from the catalogue, the store or `calibrated`.
    """
    name = model.experiment.name
    title = f"Heat maps of {name}, {subset} images"
    with files.atomic_folder(output) as folder:
        if model.model.backbone is None:
            table = pd.DataFrame(columns=list(INDEX_COLUMNS))
            note = f"{name} sees metadata only (model.image: false): there is no image to explain."
            _write(folder, table, [], _no_checks(), title=title, facts=[note], note=note)
            return table
        chosen = select_examples(predictions, calibrated, catalogue, per_class=settings.per_class)
        log.info("%d examples, method %s", len(chosen), settings.method)
        groups = catalogue.set_index("image")["group"].loc[chosen["image"]]
        examples, found = _explained(model, store, chosen, list(groups), settings.method)
        table = pd.DataFrame([one.told for one in examples], columns=list(INDEX_COLUMNS))
        facts = _facts(model, table, found, method=settings.method, subset=subset, folds=folds)
        note = f"There is no {subset} image to explain."
        _write(folder, table, examples, found, title=title, facts=facts, note=note)
    return table


def _explained(
    model: TrainedModel, store: Store, table: pd.DataFrame, groups: list[str], method: str
) -> tuple[list[Example], pd.DataFrame]:
    """Examples with their maps, and the checks of these maps."""
    if table.empty:
        return [], _no_checks()
    pixels = np.asarray(store.pixels[store.rows(list(table["image"]))])
    encoded = model.encoder.encode(table) if model.experiment.model.metadata else None
    targets = np.array([model.classes.index(name) for name in table["predicted"]], dtype=np.int64)
    maps = compute_maps(model.model, pixels, encoded, targets, method=method)
    layer = maps.layer
    melanoma = np.full(len(table), model.classes.index(isic.MELANOMA), dtype=np.int64)
    melanoma_maps = compute_maps(model.model, pixels, encoded, melanoma, method=method, layer=layer)
    log.info("maps of %s cells drawn, from %s; checking them", layer.grid, layer.name)
    batch = checks.Batch(pixels, encoded, targets, maps.heat, layer, groups)
    found = checks.run_checks(model.model, batch, list(table["diagnosis"]), method=method)
    _tell_of(checks.alike(found))
    tell = log.info if heat_maps.beat_chance(found) else log.warning
    tell("%s", heat_maps.verdict(found))
    return _examples(table, pixels, maps, melanoma_maps), found


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
    table: pd.DataFrame, pixels: drawing.Pixels, maps: Maps, melanoma_maps: Maps
) -> list[Example]:
    """The examples, all maps in the scale of the gallery."""
    whole = table.assign(
        heat_maximum=maps.maxima, melanoma_heat_maximum=melanoma_maps.maxima, grid=maps.layer.grid
    )
    common = scale.of_gallery(maps.maxima)
    shown = scale.dimmed(maps, common), scale.dimmed(melanoma_maps, common)
    return [
        Example({str(key): value for key, value in row.items()}, *pictures)
        for row, *pictures in zip(whole.to_dict("records"), pixels, *shown, strict=True)
    ]


def _no_checks() -> pd.DataFrame:
    return pd.DataFrame(columns=list(checks.COLUMNS))


def _facts(
    model: TrainedModel,
    table: pd.DataFrame,
    found: pd.DataFrame,
    *,
    method: str,
    subset: str,
    folds: int,
) -> list[str]:
    """Sentences that open the gallery."""
    settings = model.experiment.model
    sentences = [
        f"{counted(len(table), f'{subset} image')} of {model.experiment.name} "
        f"({settings.backbone}{', with metadata' if settings.metadata else ''}): of each class "
        "right and wrong answers, the most confident ones and, where there are more, as many drawn "
        "at random."
    ]
    if len(table):
        sentences += [
            f"A heat map ({_METHODS[method]}, {table['grid'].iloc[0]} cells) shows where the image "
            "raised the score of a class: dark violet nowhere, yellow most. Colours: "
            f"{scale.OF_A_GALLERY}; a map of nothing stays dark. Maps are coarse, they show where "
            "and not why, and the part that age, sex and site play is not in them.",
            heat_maps.verdict(found),
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
        panel = panels.draw_panel(example, scale=scale.OF_A_GALLERY)
        drawing.write_png(folder / example.told["file"], panel)
    heading = [title] if examples else [note]
    if examples and not heat_maps.beat_chance(found):
        heading.append(f"Beware: {heat_maps.NO_BETTER}.")
    drawing.write_png(folder / "sheet.png", panels.draw_contact_sheet(examples, title=heading))
    svg = (folder / "checks.svg").read_text(encoding="utf-8") if examples else None
    page = gallery.render(
        examples, title=title, facts=facts, colours=style.CLASS_COLOURS, checks_svg=svg
    )
    files.write_text(folder / "index.html", page)
