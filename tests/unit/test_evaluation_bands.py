"""Bands of the melanoma curves."""

import evaluation_examples as examples
import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from melanoma.evaluation import bands
from melanoma.evaluation.bands import COLUMNS, GRID, bands_table
from melanoma.evaluation.bootstrap import Resamples
from melanoma.evaluation.tables import judge


@pytest.fixture(scope="module")
def judged():
    table = examples.catalogue(150)
    return judge(examples.predictions(table), table)


def _draws(judged, number):
    return Resamples.by_group(judged.groups.to_numpy(str), number, 0)


def test_bands_hold_the_curve_and_do_not_fill_the_square(judged):
    table = bands_table(judged, _draws(judged, 400))
    assert tuple(table.columns) == COLUMNS
    assert table.groupby("curve").size().to_dict() == {"roc": GRID, "pr": GRID}
    assert ((table["low"] >= 0) & (table["low"] <= table["high"]) & (table["high"] <= 1)).all()
    rate, sensitivity, _ = roc_curve(judged.of_class("MEL"), judged.probability_of("MEL"))
    roc = table[table["curve"] == "roc"]
    reached = np.interp(roc["abscissa"], rate, sensitivity)
    inside = (roc["low"] - 0.02 <= reached) & (reached <= roc["high"] + 0.02)
    assert inside.mean() > 0.95
    assert (roc["high"] - roc["low"]).mean() < 0.5
    first = table[(table["curve"] == "pr") & (table["abscissa"] == 0)]
    assert (first["low"] > 0).all(), "precision of the first hit, not of the rows above it"


def test_a_curve_that_every_row_counts_once_in_is_the_usual_one(judged):
    positive, scores = judged.of_class("MEL"), judged.probability_of("MEL")
    order = np.argsort(-scores, kind="stable")
    ones = np.ones((len(order), 1), np.float32)
    last = np.arange(len(order))
    hits, false = bands._running(ones, positive[order], last)
    grid = np.linspace(0, 1, 21)
    rate, sensitivity, _ = roc_curve(positive, scores, drop_intermediate=False)
    highest = [sensitivity[rate <= x].max() for x in grid]
    found = bands._sensitivity(hits[:, 0], false[:, 0], grid)
    assert (found >= np.array(highest) - 1e-9).all()
    assert found[-1] == 1
    precision, recall, _ = precision_recall_curve(positive, scores)
    expected = [precision[recall >= x - 1e-12][-1] if x else precision[-2] for x in grid]
    np.testing.assert_allclose(bands._precision(hits[:, 0], false[:, 0], grid)[1:], expected[1:])


@pytest.mark.parametrize("number", [0, 5])
def test_without_melanomas_or_resamples_there_is_none(judged, number):
    table = examples.catalogue(60)
    table["diagnosis"] = table["diagnosis"].replace("MEL", "NV") if number else table["diagnosis"]
    other = judge(examples.predictions(table), table)
    assert bands_table(other, _draws(other, number)).empty
