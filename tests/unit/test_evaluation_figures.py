import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from test_evaluation_report import _write

from melanoma import style
from melanoma.catalogue import COLUMNS
from melanoma.errors import InputError
from melanoma.evaluation import figures, outputs
from melanoma.evaluation.compare import FIGURES, compare
from melanoma.evaluation.figures import calibrated, classes, groups, parts, training
from melanoma.evaluation.report import evaluate
from melanoma.files import read_json, write_table
from melanoma.isic import CLASSES


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
    groups.draw_operating_points(points, tmp_path / "again.svg", subsets=["val", "test"])
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "operating_points.svg").read_bytes()


def test_without_intervals_melanoma_or_test_part(tmp_path):
    arguments = _write(tmp_path, lesions=40, subsets=("val",))
    table = pd.read_csv(tmp_path / "catalogue.csv", keep_default_na=False)
    table["diagnosis"] = table["diagnosis"].replace("MEL", "NV")
    write_table(tmp_path / "catalogue.csv", table)
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
    assert "no subgroup is large" in drawn["none"].axes[0].texts[0].get_text()


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


@pytest.mark.parametrize(("length", "memory"), [(5, 0), (1, 0), (1, 9000)])
def test_epochs_are_named_below_every_column(tmp_path, drawn, length, memory):
    path = _history(tmp_path / "history.csv", length, 0, memory)
    training.draw_history(training.join_histories([path]), "figure")
    drawn["figure"].draw_without_rendering()
    axes = drawn["figure"].axes
    for axis in (axes[3], axes[4], axes[5] if memory else axes[2]):
        labels = [tick.label1 for tick in axis.xaxis.get_major_ticks()]
        assert any(label.get_visible() and label.get_text() for label in labels)
    if length == 1:
        assert [label.get_text() for label in axes[3].get_xticklabels()] == ["0"]


@pytest.mark.parametrize(("lengths", "memory"), [((5,), 0), ((1,), 9000), ((4, 6), 9000)])
def test_training_curves(tmp_path, lengths, memory):
    paths = [_history(tmp_path / f"{n}.csv", length, n, memory) for n, length in enumerate(lengths)]
    figures.draw_training(paths, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "training_curves.csv",
        "training_curves.svg",
    ]
    assert _is_figure(tmp_path / "out/training_curves.svg")
    table = pd.read_csv(tmp_path / "out/training_curves.csv")
    assert table.groupby("fold").size().tolist() == list(lengths)


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
    assert worse.loc["balanced_accuracy", "beyond_noise"] is True
    assert (worse["difference_low"] <= worse["difference"]).all()
    # Equal predictions differ by nothing, as far as the lesions that are there can tell.
    assert (same["difference"] == 0).all()
    assert (same["difference_low"] <= 0).all()
    assert (same["difference_high"] >= 0).all()
    reach = (same["difference_high"] - same["difference_low"]) / (first["high"] - first["low"])
    assert (reach[["accuracy", "balanced_accuracy", "macro_f1"]] < 0.5).all()
    assert not same["beyond_noise"].astype(bool).any()
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
