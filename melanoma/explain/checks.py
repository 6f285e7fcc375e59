"""Do the heat maps mean something? Three checks, each with what would be seen if they did not."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from melanoma import isic
from melanoma.explain.cam import Heat, compute_maps, enlarge, predict_probabilities
from melanoma.explain.layers import Layer
from melanoma.model import FusionModel
from melanoma.pages.heat_maps import DELETION, MEAN

RANDOMISED = "randomised weights"
OUTSIDE = "heat outside the centre"
BORDER = "heat on the border"

COLUMNS = ("check", "item", "value", "expected_by_chance", "images", "difference", "low", "high")
"""Columns of checks.csv: which check; what of it (layers randomised, class, or share of the image
blurred); the figure; the figure of a map that means nothing; the number of images it is over; for
the mean of the deletion check also expected_by_chance - value with its 95 % interval, NaN
elsewhere."""

TOO_ALIKE = 0.5
"""Rank correlation with the maps of random weights from which on a map shows the image and not
what was learnt. Chosen here, halfway to a map that ignores the weights."""

CENTRE_RADIUS = 0.35
"""Radius of the central disc as a share of the image's side, where the lesion of a dermoscopic
image lies; 38 % of the image. Chosen here; there is no published value."""

BORDER_WIDTH = 0.1
"""Width of the border as a share of the side, where dark corners, rulers and plasters lie; 36 % of
the image. Chosen here; there is no published value."""

DELETED = (0.0, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
"""Shares of the image that are blurred, hottest first."""

CHECKED = 16
"""Images for the two checks that run the classifier again and again."""

DRAWS = 20
"""Random maps for each image of the deletion check, over which their own chance averages out.
Chosen here."""

_BLUR = 0.15
"""Deviation of the blur as a share of the side: wide enough that no structure is left."""

_CORRELATED_AT = (48, 48)
"""Places a side at which maps are compared: finer than any backbone's grid."""


@dataclass(frozen=True)
class Batch:
    """Images to check, and what is explained of them.

    Attributes:
        pixels: uint8[n, s, s, 3].
        metadata: float32[n, m], encoded, or None.
        targets: number of the predicted class of each image.
        heat: float32[n, s, s] in 0..1, of these classes.
        layer: whose activations the maps weigh.
        groups: the lesion of each image; None where each is of its own.
    """

    pixels: NDArray[np.uint8]
    metadata: NDArray[np.float32] | None
    targets: NDArray[np.int64]
    heat: Heat
    layer: Layer
    groups: Sequence[str] | None = None

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the images, by their place."""
        chosen = list(rows)
        return Batch(
            self.pixels[chosen],
            None if self.metadata is None else self.metadata[chosen],
            self.targets[chosen],
            self.heat[chosen],
            self.layer,
            None if self.groups is None else [self.groups[row] for row in chosen],
        )


def run_checks(
    model: FusionModel, batch: Batch, diagnoses: Sequence[str], *, method: str, seed: int = 0
) -> pd.DataFrame:
    """All three checks.

    Args:
        model: in evaluation mode, on any device; left as it was.
        batch: the explained images.
        diagnoses: true class of each image.
        method: the class activation map.
        seed: of the random weights and the random maps.

    Returns:
        Columns `COLUMNS`.
    """
    rows = spread(diagnoses, CHECKED)
    few = batch.take(rows)
    tables = [
        randomised_weights(model, few, method=method, seed=seed),
        heat_shares(batch.heat, diagnoses),
        deletion_curve(model, few, seed=seed),
    ]
    return pd.concat(tables, ignore_index=True)


def alike(table: pd.DataFrame) -> float:
    """Rank correlation of the maps with those of wholly random weights; NaN where unknown.

    Args:
        table: from `run_checks`.
    """
    values = table.loc[table["check"] == RANDOMISED, "value"]
    return float(values.iloc[-1]) if len(values) else float("nan")


def spread(diagnoses: Sequence[str], limit: int) -> list[int]:
    """Places of at most `limit` images, the classes taken in turns, in ascending order."""
    turns = pd.Series(list(diagnoses), dtype="str").groupby(list(diagnoses)).cumcount()
    return sorted(turns.sort_values(kind="stable").index[:limit])


def randomised_weights(
    model: FusionModel, batch: Batch, *, method: str, seed: int = 0
) -> pd.DataFrame:
    """How the maps change when weights are made random, layer by layer from the head down.

    Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, arXiv:1810.03292: a map that
    stays as it was shows the image, not what the classifier learned. Random weights keep each
    tensor's mean and deviation, so that signals neither die nor explode.

    Args:
        model: left as it was; a copy is made random.
        batch: the images, with the maps of the trained weights.
        method: the class activation map.
        seed: of the random weights.

    Returns:
        Columns `COLUMNS`; item names the last group made random, value is the mean rank
        correlation of the maps before and after (below 0.5 at the end where the maps depend on
        the weights; 0 by chance).
    """
    shuffled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    rows: list[_Row] = []
    for name, parameters in shuffled.layer_groups():
        for parameter in parameters:
            _randomise(parameter, generator)
        maps = compute_maps(
            shuffled,
            batch.pixels,
            batch.metadata,
            batch.targets,
            method=method,
            layer=batch.layer,
        )
        correlations = rank_correlations(batch.heat, maps.heat)
        known = correlations[~np.isnan(correlations)]
        mean = float(known.mean()) if len(known) else float("nan")
        rows.append((RANDOMISED, name, mean, 0.0, len(known)))
    return _table(rows)


_Row = tuple[str, str, float, float, int]


def _table(rows: Sequence[_Row]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(COLUMNS[:5])).reindex(columns=list(COLUMNS))


@torch.no_grad()
def _randomise(parameter: torch.nn.Parameter, generator: torch.Generator) -> None:
    noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
    deviation = parameter.std() if parameter.numel() > 1 else parameter.abs().mean()
    parameter.copy_(parameter.mean() + noise * deviation)


def rank_correlations(before: Heat, after: Heat) -> NDArray[np.float64]:
    """Spearman's rank correlation of pairs of maps.

    Args:
        before: float32[n, h, w].
        after: float32[n, h, w].

    Returns:
        float64[n] in -1..1; NaN where `before` is flat; 0 where only `after` is.
    """
    values = np.full(len(before), np.nan)
    for number, (one, two) in enumerate(zip(before, after, strict=True)):
        first, second = _ranks(one), _ranks(two)
        if first.std() > 0:
            values[number] = np.corrcoef(first, second)[0, 1] if second.std() > 0 else 0.0
    return values


def _ranks(heat: NDArray[np.float32]) -> NDArray[np.float64]:
    small = cv2.resize(heat, _CORRELATED_AT, interpolation=cv2.INTER_AREA)
    return np.asarray(pd.Series(small.ravel()).rank(), dtype=float)


def heat_shares(heat: Heat, diagnoses: Sequence[str]) -> pd.DataFrame:
    """Where the heat lies: its share outside the centre and on the border, for each class.

    Args:
        heat: float32[n, s, s] in 0..1.
        diagnoses: true class of each image.

    Returns:
        Columns `COLUMNS`; item is the class; expected_by_chance is the area's share of the image.
        Maps without heat are left out.
    """
    masks = {OUTSIDE: ~centre_mask(heat.shape[1]), BORDER: border_mask(heat.shape[1])}
    total = heat.sum(axis=(1, 2))
    rows: list[_Row] = []
    for check, mask in masks.items():
        shares = heat[:, mask].sum(axis=1) / np.where(total > 0, total, np.nan)
        for name in isic.CLASSES:
            known = shares[(np.asarray(diagnoses) == name) & ~np.isnan(shares)]
            if len(known):
                chance = float(mask.mean())
                rows.append((check, name, float(known.mean()), chance, len(known)))
    return _table(rows)


def centre_mask(side: int) -> NDArray[np.bool_]:
    """Places of the central disc: bool[side, side]."""
    places = (np.arange(side) + 0.5) / side - 0.5
    mask: NDArray[np.bool_] = np.hypot(*np.meshgrid(places, places)) <= CENTRE_RADIUS
    return mask


def border_mask(side: int) -> NDArray[np.bool_]:
    """Places of the border: bool[side, side]."""
    places = np.abs((np.arange(side) + 0.5) / side - 0.5) > 0.5 - BORDER_WIDTH
    mask: NDArray[np.bool_] = places[:, None] | places[None, :]
    return mask


def deletion_curve(model: FusionModel, batch: Batch, *, seed: int = 0) -> pd.DataFrame:
    """Does the predicted class's probability fall sooner when the hottest places are blurred first?

    After Petsiuk et al., "RISE", BMVC 2018, arXiv:1806.07421. Blurred rather than blackened, since
    a black patch is a sight of its own. By chance: places in the order of `DRAWS` random maps on
    the network's own grid for each image. Maps without heat have no order and are left out.

    Args:
        model: in evaluation mode.
        batch: the images with their maps.
        seed: of the random maps.

    Returns:
        Columns `COLUMNS`; item is the share blurred, value the mean probability, and the last row
        ("mean") the mean over the shares, weighted by their distance: smaller is better. Its
        difference is positive where the maps are better than chance.
    """
    batch = batch.take(np.flatnonzero(batch.heat.any(axis=(1, 2))).tolist())
    count, side = len(batch.pixels), batch.heat.shape[1]
    if not count:
        return _table([(DELETION, MEAN, float("nan"), float("nan"), 0)])
    hot = _probabilities_while_deleting(model, batch, batch.heat, DELETED)
    draws = random_maps(DRAWS * count, side, seed, cells=batch.layer.cells)
    orders = draws.reshape(DRAWS, count, side, side)
    # With nothing blurred, and with everything, the order makes no difference.
    between = [_probabilities_while_deleting(model, batch, one, DELETED[1:-1]) for one in orders]
    chance = np.column_stack([hot[:, 0], np.mean(between, axis=0), hot[:, -1]])
    curves = zip(DELETED, hot.mean(axis=0), chance.mean(axis=0), strict=True)
    rows: list[_Row] = [
        (DELETION, f"{share:.2f}", float(one), float(other), count) for share, one, other in curves
    ]
    area, by_chance = (np.asarray(np.trapezoid(y, DELETED, axis=1)) for y in (hot, chance))
    rows.append((DELETION, MEAN, float(area.mean()), float(by_chance.mean()), count))
    table = _table(rows)
    interval = mean_interval(by_chance - area, batch.groups)
    table.loc[len(table) - 1, ["difference", "low", "high"]] = interval
    return table


def mean_interval(
    values: NDArray[np.float64], groups: Sequence[str] | None = None
) -> tuple[float, float, float]:
    """A mean with its 95 % interval, from the spread between groups.

    The cluster-robust standard error with Student's t of one less than the number of groups
    (Cameron and Miller, "A practitioner's guide to cluster-robust inference", 2015,
    doi:10.3368/jhr.50.2.317): a dozen of lesions are too few for a bootstrap.

    Args:
        values: float[n], at least one.
        groups: of each value; None where each is of its own.

    Returns:
        Mean, low, high; the last two NaN with a single group.
    """
    mean = float(values.mean())
    keys = range(len(values)) if groups is None else groups
    sums = pd.Series(values - mean).groupby(list(keys)).sum().to_numpy()
    count = len(sums)
    if count < 2:
        return mean, float("nan"), float("nan")
    error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(values)
    reach = float(stdtrit(count - 1, 0.975)) * error
    return mean, mean - reach, mean + reach


def random_maps(count: int, side: int, seed: int, *, cells: int) -> Heat:
    """Smooth random maps, as coarse as a network's: float32[count, side, side].

    Args:
        count: of maps.
        side: of the images, pixels.
        seed: of the maps.
        cells: a side of the grid.
    """
    rng = np.random.default_rng(seed)
    return enlarge(rng.random((count, cells, cells), dtype=np.float32), side)


def _probabilities_while_deleting(
    model: FusionModel, batch: Batch, order: Heat, shares: Sequence[float]
) -> NDArray[np.float64]:
    """Probability of the predicted class of each image: float64[n, shares]."""
    side = batch.pixels.shape[1]
    blurred = np.stack([cv2.GaussianBlur(one, (0, 0), _BLUR * side) for one in batch.pixels])
    flat = order.reshape(len(order), -1)
    # Stable, so that the places of a flat map go in reading order on every machine.
    rank = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1, kind="stable")
    columns = []
    for share in shares:
        gone = (rank < round(share * flat.shape[1])).reshape(order.shape)
        pixels = np.where(gone[..., None], blurred, batch.pixels)
        probabilities = predict_probabilities(model, pixels, batch.metadata)
        columns.append(probabilities[np.arange(len(pixels)), batch.targets])
    return np.stack(columns, axis=1).astype(np.float64)
