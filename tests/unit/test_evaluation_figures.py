import shutil

import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from test_evaluation_report import _write

from melanoma import style
from melanoma.catalogue import COLUMNS
from melanoma.errors import InputError
from melanoma.evaluation import best_epoch, figures, outputs
from melanoma.evaluation.compare import FIGURES, compare
from melanoma.evaluation.figures import (
    calibrated,
    classes,
    comparison,
    curves,
    groups,
    metadata,
    parts,
    training,
)
from melanoma.evaluation.report import evaluate
from melanoma.files import read_json, write_table
from melanoma.isic import CLASSES
from melanoma.seeds import Run, runs
from melanoma.training import bookkeeping


def _is_figure(path):
    text = path.read_text()
    return text.rstrip().endswith("</svg>") and len(text) > 5000


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    evaluate(**_write(folder), output=folder / "out", resamples=30)
    return folder / "out"


def test_every_figure_is_drawn_and_redrawn_alike(numbers, tmp_path):
    figures.draw(numbers, tmp_path, ["val", "test"])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(outputs.figure_files(["val", "test"]))
    assert all(_is_figure(tmp_path / name) for name in names)
    counts = pd.read_csv(numbers / "confusion_val.csv")
    classes.draw_confusion(counts, tmp_path / "again.svg", subset="val")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "confusion_val.svg").read_bytes()
    points = pd.read_csv(numbers / "operating_points.csv")
    melanoma = read_json(numbers / "metrics.json")["melanoma"]
    groups.draw_operating_points(points, melanoma, tmp_path / "again.svg", subsets=["val", "test"])
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "operating_points.svg").read_bytes()


def test_without_intervals_melanoma_or_test_part(tmp_path):
    arguments = _write(tmp_path, lesions=40, subsets=("val",), rename={"MEL": "NV"})
    evaluate(**arguments, output=tmp_path, resamples=0)
    figures.draw(tmp_path, tmp_path, ["val"])
    assert all(_is_figure(tmp_path / name) for name in outputs.figure_files(["val"]))


@pytest.mark.parametrize(
    ("lows", "hollow", "words"),
    [
        ([0.2, 0.3], 0, ["bars: 95 %"]),
        ([0.2, np.nan], 1, ["bars: 95 %", "too few lesions"]),
        ([np.nan, np.nan], 2, ["hollow: no interval"]),
    ],
)
def test_a_dot_without_a_bar_is_hollow(lows, hollow, words):
    table = pd.DataFrame({"recall": [0.5, 1.0], "recall_low": lows, "recall_high": lows})
    _, axes = style.new_figure(4, 4)
    parts.dots(axes[0], table, "recall", [0.0, 1.0], colours="#000000")
    faces = [line.get_markerfacecolor() for line in axes[0].lines if line.get_marker() == "o"]
    assert faces.count("white") == hollow
    note = parts.interval_note(table, ["recall"])
    assert all(word in note for word in words)
    assert ("too few" in note) == (hollow == 1)


@pytest.fixture
def drawn(monkeypatch):
    """Figures by the path that they would have been written to."""
    kept = {}
    monkeypatch.setattr(style, "save_figure", lambda figure, path: kept.update({path: figure}))
    return kept


def test_subgroups_without_a_figure_are_left_out_and_counted(numbers, drawn):
    table = pd.read_csv(numbers / "subgroups.csv")
    metrics = read_json(numbers / "metrics.json")
    every = table[table["subset"] == "test"]
    known = every[every[list(groups.SUBGROUPS)].notna().any(axis=1)]
    groups.draw_subgroups(table, metrics, "some", subset="test")
    table[list(groups.SUBGROUPS)] = np.nan
    groups.draw_subgroups(table, metrics, "none", subset="test")
    assert len(drawn["some"].axes[0].get_yticklabels()) == len(known)
    note = drawn["some"].get_supxlabel()
    assert f"left out: {len(every) - len(known)} of {len(every)} subgroups" in note
    for axis in drawn["none"].axes:
        assert "no subgroup is large" in axis.texts[0].get_text()
        assert not axis.lines
        _lies_within(axis.texts[0], axis)


def _lies_within(text, axis):
    """Whether a note is neither cut by the figure nor runs into the next panel."""
    axis.figure.draw_without_rendering()
    inside, panel = text.get_window_extent(), axis.get_window_extent()
    assert inside.x0 >= panel.x0
    assert inside.x1 <= panel.x1


def test_a_subgroup_is_named_with_its_variable_and_the_classes_it_lacks(drawn):
    kinds = {"variable": ["sex", "metadata", "site"], "part": ["male", "complete", "missing"]}
    table = pd.DataFrame(kinds | {"shared_classes": ["MEL NV", " ".join(CLASSES), np.nan]})
    table = table.assign(subset="test", images=[54, 84, 60], melanomas=[9, 15, 0], classes=8)
    for name in groups.SUBGROUPS:
        table[[name, f"{name}_low", f"{name}_high"]] = 0.5
    counts = {"n": {"test": {"classes": dict.fromkeys(CLASSES, 3)}}, "test": {}}
    melanoma = {"default": "sensitivity_90", "reached": {}}
    for number, thresholds in enumerate(({"sensitivity_90": 0.30703}, {})):
        one = melanoma | {"thresholds": thresholds} | ({} if thresholds else {"default": None})
        groups.draw_subgroups(table, counts | {"melanoma": one}, number, subset="test")
    labels = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert labels == [
        "sex: male  (n = 54, MEL 9, 2 of 8 classes)",
        "metadata: complete  (n = 84, MEL 15)",
        "site: missing  (n = 60, MEL 0, 0 of 8 classes)",
    ]
    point = "at the threshold 0.307, chosen on validation for a sensitivity of 90 %"
    assert point in drawn[0].get_supxlabel()
    assert "too few lesions in validation" in drawn[1].get_supxlabel()


def test_a_difference_has_zero_in_its_middle(drawn, numbers):
    table = pd.read_csv(numbers / "subgroups.csv")
    groups.draw_subgroups(table, read_json(numbers / "metrics.json"), "some", subset="test")
    axis = drawn["some"].axes[groups.SUBGROUPS.index(groups.DIFFERENCE)]
    low, high = axis.get_xlim()
    assert low == -high
    values = table.loc[table["subset"] == "test", [f"{groups.DIFFERENCE}_low", groups.DIFFERENCE]]
    assert low < values.min().min()


@pytest.mark.parametrize(("name", "column"), [(n, c[0]) for n, c in outputs.NEEDED.items()])
def test_tables_of_an_earlier_version_are_not_misread(numbers, tmp_path, name, column):
    shutil.copytree(numbers, tmp_path / "old")
    table = pd.read_csv(numbers / name)
    write_table(tmp_path / "old" / name, table.drop(columns=column))
    with pytest.raises(InputError, match=rf"{name}: row 1: column {column} is missing.*run the"):
        figures.draw(tmp_path / "old", tmp_path, ["val", "test"])


def test_a_predictive_value_stands_beside_the_prevalence(numbers, drawn):
    table = pd.read_csv(numbers / "operating_points.csv")
    why = "95 % sensitivity takes at least 19 melanoma lesions"
    absent = {"absent": {"sensitivity_95": why}}
    groups.draw_operating_points(table, absent, "points", subsets=["val", "test"])
    assert drawn["points"].get_supxlabel().endswith(f"\nnone: {why}")
    label = drawn["points"].axes[2].get_xlabel()
    for subset, name in (("val", "validation"), ("test", "test")):
        row = table[table["subset"] == subset].iloc[0]
        share = 100 * row["melanomas"] / row["images"]
        assert f"\n{name} {row['melanomas']} of {row['images']}, {share:.1f} %" in label


def test_net_benefit_is_drawn_at_other_prevalences(numbers, drawn):
    table = pd.read_csv(numbers / "decision_curve.csv")
    calibrated.draw_decision_curve(table, "curve", subset="test")
    rows = table[table["subset"] == "test"]
    axis = drawn["curve"].axes[1]
    lines = {line.get_label(): line.get_ydata() for line in axis.lines}
    for percent in (2, 5, 10, 20):
        expected = rows[f"model_at_{percent}_percent"] / (percent / 100)
        np.testing.assert_allclose(lines[f"{percent} %"], expected)


def test_panels_without_anything_to_show_say_why(tmp_path, drawn):
    """Of images that are all of one class: one that is not melanoma."""
    rename = dict.fromkeys(CLASSES, "NV")
    arguments = _write(tmp_path, lesions=40, subsets=("val",), rename=rename)
    evaluate(**arguments, output=tmp_path, resamples=0)
    figures.draw(tmp_path, tmp_path, ["val"])
    axes = {path.stem: figure.axes for path, figure in drawn.items()}
    empty = [*axes["roc"], *axes["pr"], *axes["operating_points"], axes["per_class"][-1]]
    for axis in empty:
        assert axis.texts[0].get_text().startswith(("not defined", "no threshold"))
        assert not axis.lines
        _lies_within(axis.texts[0], axis)
    assert not axes["per_class"][0].texts


def test_figures_that_are_not_defined_are_no_empty_grids(drawn):
    known = {"experiment": "fusion", "field": "age", "change": "hidden", "subset": "val"}
    known |= {"interval_excludes_zero": False, "p_holm": np.nan, "seeds": 1}
    ends = dict.fromkeys(("low", "high", "difference_low", "difference_high"), np.nan)
    rows = [
        known | ends | {"figure": name, "value": value, "difference": value}
        for name in comparison.FIGURES
        for value in (0.5 if name == "balanced_accuracy" else np.nan,)
    ]
    table = pd.DataFrame(rows)
    comparison.draw_comparison(table, "comparison")
    metadata.draw_metadata(table, "metadata")
    for figure in drawn.values():
        texts = [[text.get_text() for text in axis.texts] for axis in figure.axes]
        assert texts == [[], *[["not defined"]] * 3]


def _curves(low):
    """Tables of a perfect melanoma curve and of one of nevi, with melanoma's band."""
    roc = pd.DataFrame({"class": ["MEL", "MEL", "NV", "NV"], "subset": "val"})
    roc["false_positive_rate"] = [0.0, 1.0, 0.0, 1.0]
    roc["sensitivity"] = 1.0
    per_class = pd.DataFrame({"class": ["MEL", "NV"], "subset": "val"})
    for name in ("auroc", "average_precision"):
        per_class[[name, f"{name}_low", f"{name}_high"]] = [1.0, 0.8, 1.0]
    band = pd.DataFrame({"curve": ["roc", "roc", "pr", "pr"], "class": "MEL", "subset": "val"})
    band = band.assign(abscissa=[0.0, 1.0] * 2, low=[low, 1.0] * 2, high=1.0)
    pr = roc.rename(columns={"false_positive_rate": "recall", "sensitivity": "precision"})
    return roc, pr, per_class, band


@pytest.mark.parametrize(("low", "drawn_bands"), [(0.9, 1), (1.0, 0)])
def test_a_band_without_any_width_is_told_in_words(drawn, low, drawn_bands):
    roc, pr, per_class, band = _curves(low)
    curves.draw_roc(roc, per_class, band, "roc", subsets=["val"])
    curves.draw_pr(pr, per_class, band, "pr", subsets=["val"])
    for figure in drawn.values():
        axis = figure.axes[0]
        assert len(axis.collections) == drawn_bands
        told = "MEL: no band" in axis.get_legend().get_title().get_text()
        assert told == (not drawn_bands)


def test_melanoma_lies_above_the_other_curves(drawn):
    roc, pr, per_class, band = _curves(0.9)
    curves.draw_roc(roc, per_class, band, "roc", subsets=["val"])
    curves.draw_pr(pr, per_class, band, "pr", subsets=["val"])
    for figure in drawn.values():
        axis = figure.axes[0]
        height = {line.get_label()[:3].strip(): line.get_zorder() for line in axis.lines}
        assert height["MEL"] > height["NV"]
        names = [text.get_text()[:3].strip() for text in axis.get_legend().get_texts()]
        assert names == ["MEL", "NV"]


def test_the_confusion_matrix_says_what_its_colours_are(drawn):
    table = pd.DataFrame({"true": ["MEL", "NV"], "MEL": [3, 0], "NV": [1, 4]})
    classes.draw_confusion(table, "figure", subset="val")
    assert "share of the row" in drawn["figure"].get_supxlabel()
    assert drawn["figure"].axes[0].get_title(loc="left") == "Images, validation (n = 8)"


@pytest.mark.parametrize("figure", ["recall", "auroc"])
def test_a_dot_at_either_end_is_whole(figure):
    table = pd.DataFrame({figure: [0.0, 1.0], f"{figure}_low": 0.0, f"{figure}_high": 1.0})
    _, axes = style.new_figure(13, 5, columns=5)
    parts.limit(axes[0], table, figure)
    low, high = axes[0].get_xlim()
    assert low < 0
    assert high > 1


def _history(path, epochs, seed=0, memory=0):
    rng = np.random.default_rng(seed)
    columns = ["train_loss", "val_loss", *(f"val_{n}" for n in ("accuracy", "balanced_accuracy"))]
    columns += [f"val_{n}" for n in ("macro_f1", "weighted_f1", "macro_auroc")]
    table = pd.DataFrame(rng.random((epochs, len(columns))), columns=columns)
    table.insert(0, "epoch", range(epochs))
    table.insert(1, "stage", ["head"] * min(2, epochs) + ["all"] * max(0, epochs - 2))
    table["lr_head"] = 1e-4
    table["lr_stem"] = np.where(table["stage"] == "head", 0.0, 1e-5)
    table["images_per_second"] = 100.0
    table["gpu_memory_mb"] = memory
    write_table(path, table)
    return path


def test_bins_far_apart_are_not_joined(drawn):
    bins = {"low": [0.0, 0.1, 0.8], "high": [0.1, 0.2, 0.9], "observed": 0.5}
    ends = {"probability": [0.05, 0.15, 0.85], "observed_low": 0.4, "observed_high": 0.6}
    table = pd.DataFrame(bins | ends | {"subset": "val", "n": 3, "of": "melanoma"})
    table["probabilities"] = "raw"
    summary = {kind: {"ece": None} for kind in ("raw", "calibrated")}
    calibrated.draw_reliability(table, summary, "figure", "val")
    lines = [line.get_xdata() for line in drawn["figure"].axes[1].lines]
    np.testing.assert_array_equal(lines[1], [0.05, 0.15, np.nan, 0.85])
    legend = drawn["figure"].axes[0].get_legend()
    assert legend.get_window_extent().y0 >= drawn["figure"].axes[0].get_window_extent().y1


def test_no_bar_of_a_histogram_is_cut(drawn):
    bins = {"low": 0.9, "high": 1.0, "observed": 0.5, "probability": 0.95}
    ends = {"observed_low": 0.4, "observed_high": 0.6}
    rows = [
        bins | ends | {"subset": "val", "of": of, "probabilities": kind, "n": count}
        for of in ("decision", "melanoma")
        for kind, count in (("raw", 3), ("calibrated", 4000))
    ]
    summary = {kind: {"ece": None} for kind in ("raw", "calibrated")}
    calibrated.draw_reliability(pd.DataFrame(rows), summary, "figure", "val")
    for axis in drawn["figure"].axes[2:]:
        low, high = axis.get_ylim()
        assert low == 0.7
        assert high > 4000


@pytest.mark.parametrize(("length", "memory"), [(5, 0), (1, 0), (1, 9000)])
def test_epochs_are_named_below_every_column(tmp_path, drawn, length, memory):
    path = _history(tmp_path / "history.csv", length, 0, memory)
    training.draw_history(training.join_histories({Run(0, 0): path}), "figure")
    drawn["figure"].draw_without_rendering()
    axes = drawn["figure"].axes
    for axis in (axes[3], axes[4], axes[5] if memory else axes[2]):
        labels = [tick.label1 for tick in axis.xaxis.get_major_ticks()]
        assert any(label.get_visible() and label.get_text() for label in labels)
    if length == 1:
        assert [label.get_text() for label in axes[3].get_xticklabels()] == ["0"]


@pytest.mark.parametrize(("lengths", "memory"), [((5,), 0), ((1,), 9000), ((4, 6), 9000)])
def test_training_curves(tmp_path, lengths, memory):
    paths = {
        Run(n, n): _history(tmp_path / f"{n}.csv", length, n, memory)
        for n, length in enumerate(lengths)
    }
    figures.draw_training(paths, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "training_curves.csv",
        "training_curves.svg",
    ]
    assert _is_figure(tmp_path / "out/training_curves.svg")
    table = pd.read_csv(tmp_path / "out/training_curves.csv")
    assert table.groupby("fold").size().tolist() == list(lengths)
    assert (table["seed"] == table["fold"]).all()


def test_stars_mark_the_epochs_that_the_models_are_from(tmp_path, drawn):
    paths = {run: _history(tmp_path / f"{run.name}.csv", 5, run.seed) for run in runs(1, 2)}
    table = training.join_histories(paths)
    # Of equal scores training keeps the first.
    table["val_balanced_accuracy"] = [0.1, 0.5, 0.9, 0.9, 0.3, np.nan, 0.2, 0.4, 0.3, 0.6]
    training.draw_history(table, "figure")
    assert f"val_{bookkeeping.SCORE}" == best_epoch.SCORE
    assert best_epoch.best_epochs(table) == {Run(0, 0): 2, Run(0, 1): 4}
    assert "best: epochs 2, 4" in drawn["figure"].get_supxlabel()
    lines = drawn["figure"].axes[1].lines
    stars = [(*line.get_xdata(), *line.get_ydata()) for line in lines if line.get_marker() == "*"]
    assert stars[:2] == [(2, 0.9), (4, 0.6)]
    assert not [line for line in drawn["figure"].axes[3].lines if line.get_marker() == "*"]
    one = table[table["seed"] == 0]
    assert best_epoch.best_text(one) == "best: epoch 2"
    assert best_epoch.best_text(one.assign(val_balanced_accuracy=np.nan)) == "best: none"


def _experiments(folder, noise=(0.0, 3.0)):
    table = examples.catalogue(150)
    write_table(folder / "catalogue.csv", table[list(COLUMNS)])
    paths = {}
    for number, level in enumerate(noise):
        raw = examples.predictions(table, signal=3.0 - level)
        paths[f"experiment_{number}"] = folder / f"{number}.csv"
        write_table(paths[f"experiment_{number}"], raw[["image", *CLASSES]])
    return paths


def test_comparison_pairs_the_experiments(tmp_path):
    paths = _experiments(tmp_path, (0.0, 2.5, 0.0))
    table = compare(paths, tmp_path / "catalogue.csv", "test", resamples=100)
    assert len(table) == 3 * len(FIGURES)
    first = table[table["experiment"] == "experiment_0"].set_index("figure")
    worse = table[table["experiment"] == "experiment_1"].set_index("figure")
    same = table[table["experiment"] == "experiment_2"].set_index("figure")
    assert first["difference"].isna().all()
    np.testing.assert_allclose(worse["difference"], worse["value"] - first["value"])
    assert (worse["difference_low"] <= worse["difference"]).all()
    # Equal predictions differ by nothing, as far as the lesions that are there can tell.
    assert (same["difference"] == 0).all()
    assert (same["difference_low"] <= 0).all()
    assert (same["difference_high"] >= 0).all()
    reach = (same["difference_high"] - same["difference_low"]) / (first["high"] - first["low"])
    assert (reach[["accuracy", "macro_f1"]] < 0.5).all()
    # Where classes have two or three lesions, others might tell them apart.
    assert 0.5 < reach["balanced_accuracy"] < 1
    # With one seed each, nothing tells an effect from its luck.
    assert table[["interval_excludes_zero", "p", "p_holm"]].isna().all(axis=None)
    assert (table["seeds"] == 1).all()
    assert table[["single_model", "seed_deviation"]].isna().all(axis=None)
    width = worse["difference_high"] - worse["difference_low"]
    independent = np.hypot(first["high"] - first["low"], worse["high"] - worse["low"])
    assert width["accuracy"] < independent["accuracy"]
    write_table(tmp_path / "comparison.csv", table)
    figures.draw_comparison(tmp_path / "comparison.csv", tmp_path / "comparison.svg")
    assert _is_figure(tmp_path / "comparison.svg")


@pytest.mark.parametrize("count", [1, 2])
def test_comparison_without_intervals(tmp_path, count):
    paths = _experiments(tmp_path, (0.0, 2.0)[:count])
    table = compare(paths, tmp_path / "catalogue.csv", "val", resamples=0)
    assert table["low"].isna().all()
    assert table["value"].notna().all()
    write_table(tmp_path / "comparison.csv", table)
    figures.draw_comparison(tmp_path / "comparison.csv", tmp_path / "comparison.svg")
    assert _is_figure(tmp_path / "comparison.svg")


def test_comparison_needs_the_same_images(tmp_path):
    paths = _experiments(tmp_path)
    short = pd.read_csv(paths["experiment_1"])[1:]
    write_table(paths["experiment_1"], short)
    with pytest.raises(InputError, match=r"1\.csv: image ISIC_0000000 is judged in only one"):
        compare(paths, tmp_path / "catalogue.csv", "test", resamples=0)
    with pytest.raises(InputError, match="no experiment"):
        compare({}, tmp_path / "catalogue.csv", "test", resamples=0)
