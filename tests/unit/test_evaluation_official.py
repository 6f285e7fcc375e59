import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest

from melanoma import style
from melanoma.catalogue import COLUMNS
from melanoma.errors import InputError
from melanoma.evaluation.figures import draw_official
from melanoma.evaluation.official import FILES, evaluate_official, truth_table
from melanoma.files import read_json, write_table
from melanoma.isic import CLASSES, UNKNOWN
from melanoma.scoring import official_scores
from melanoma.submission import read_submission


@pytest.fixture
def official(tmp_path):
    """A test set with unknown images, and two folds' predictions of it and of validation."""
    table = examples.catalogue(100)
    # Every class keeps images: unknown ones are of the commonest class by their looks.
    table.loc[(table["diagnosis"] == "NV") & (np.arange(len(table)) % 2 == 0), "diagnosis"] = (
        UNKNOWN
    )
    table = table[list(COLUMNS)].assign(score_weight=1.0, validation_weight=0.0)
    table.loc[5, "score_weight"] = 0.0
    write_table(tmp_path / "catalogue.csv", table)
    known = examples.catalogue(120, seed=1)
    write_table(tmp_path / "training.csv", known[list(COLUMNS)])
    arguments = {"official": [], "validation": [], "catalogue": tmp_path / "catalogue.csv"}
    arguments["training"] = tmp_path / "training.csv"
    for fold in range(2):
        write_table(tmp_path / f"o{fold}.csv", examples.predictions(table, fold))
        arguments["official"].append(tmp_path / f"o{fold}.csv")
        write_table(tmp_path / f"v{fold}.csv", examples.predictions(known, fold)[fold::2])
        arguments["validation"].append(tmp_path / f"v{fold}.csv")
    return table, arguments, tmp_path / "out"


@pytest.mark.parametrize("ood", ["energy", "msp"])
def test_submission_and_scores(official, ood):
    table, arguments, output = official
    found = evaluate_official(**arguments, output=output, ood=ood)
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    submitted = read_submission(output / "submission.csv", list(table["image"]))
    assert len(submitted) == len(table)
    assert found["all"] == official_scores(
        truth_table(table), pd.read_csv(output / "submission.csv")
    )
    assert found["all"]["classes"] == 9
    assert found["all"]["nine_class"]["weight"] == len(table) - 1
    assert found["without_matched"] is None
    assert found["unknown"]["score"] == ood
    assert not found["never"]["all"]["nine_class"]["per_class"][UNKNOWN]["sensitivity"]
    assert found["never"]["without_matched"] is None
    assert read_json(output / "scores.json") == found
    headline = pd.read_csv(output / "scores.csv").set_index("score")["balanced_accuracy"]
    never = found["never"]["all"]["nine_class"]["balanced_accuracy"]
    assert headline["nine_class_never"] == pytest.approx(never, abs=1e-12)
    for score in ("nine_class", "eight_class"):
        assert headline[score] == pytest.approx(found["all"][score]["balanced_accuracy"], abs=1e-12)
    scores = pd.read_csv(output / "ood.csv")
    called = submitted[UNKNOWN].to_numpy() > 0.5
    threshold = found["unknown"]["threshold"]
    assert found["unknown"]["never"] == (threshold is None)
    np.testing.assert_array_equal(
        called, scores["ood"] > (np.inf if threshold is None else threshold)
    )


def test_matched_images_are_left_out_of_the_second_score(official):
    table, arguments, output = official
    matched = [*table["image"][:7], "not in this set"]
    found = evaluate_official(**arguments, output=output, ood="msp", matched=matched)
    assert found["matched"] == 7
    assert found["without_matched"]["nine_class"]["images"] == len(table) - 7
    assert found["all"]["nine_class"]["images"] == len(table)


def test_tables_have_every_class_with_intervals(official):
    table, arguments, output = official
    matched = list(table["image"][:9])
    found = evaluate_official(
        **arguments, output=output, ood="energy", matched=matched, resamples=200
    )
    per_class = pd.read_csv(output / "per_class.csv")
    scores = pd.read_csv(output / "scores.csv").set_index(["images", "score"])
    for (images, score), rows in per_class.groupby(["images", "score"]):
        expected = found[images][score]
        assert list(rows["class"]) == expected["classes"]
        assert rows["n"].sum() == expected["images"] == scores.loc[(images, score), "n"]
        assert scores.loc[(images, score), "weight"] == expected["weight"]
        for _, row in rows.iterrows():
            assert row["auc"] == pytest.approx(expected["per_class"][row["class"]]["auc"])
        for figure, mean in (("recall", "balanced_accuracy"), ("auc", "macro_auc")):
            assert (rows[f"{figure}_low"] <= rows[figure]).all()
            assert (rows[figure] <= rows[f"{figure}_high"]).all()
            head = scores.loc[(images, score)]
            assert head[mean] == pytest.approx(rows[figure].mean())
            assert head[f"{mean}_low"] < head[mean] < head[f"{mean}_high"]
    assert set(scores.index) == {
        (images, score)
        for images in ("all", "without_matched")
        for score in ("nine_class", "eight_class", "nine_class_never")
    }
    assert set(per_class["score"]) == {"nine_class", "eight_class"}
    counts = pd.read_csv(output / "confusion.csv").set_index("true")
    assert counts.to_numpy().sum() == len(table)
    nine = per_class[(per_class["images"] == "all") & (per_class["score"] == "nine_class")]
    np.testing.assert_array_equal(counts.sum(axis=1), nine["n"])


def test_every_image_matched_leaves_no_second_score(official):
    table, arguments, output = official
    found = evaluate_official(
        **arguments, output=output, ood="msp", matched=list(table["image"]), resamples=10
    )
    assert found["without_matched"] is None


def test_the_score_is_drawn_and_redrawn_alike(official, tmp_path):
    _, arguments, output = official
    for resamples, name in ((20, "a"), (20, "b"), (0, "c")):
        evaluate_official(**arguments, output=output, ood="msp", resamples=resamples)
        draw_official(output, tmp_path / name)
    for figure in ("confusion.svg", "per_class.svg"):
        first, second, bare = ((tmp_path / name / figure).read_text() for name in "abc")
        assert first == second
        assert bare.rstrip().endswith("</svg>")


def test_figures_of_the_score_say_what_is_weighted(official, monkeypatch):
    _, arguments, output = official
    evaluate_official(**arguments, output=output, ood="msp", resamples=0)
    kept = {}
    monkeypatch.setattr(style, "save_figure", lambda figure, path: kept.update({path.stem: figure}))
    draw_official(output, output)
    counts, recalls = kept["confusion"], kept["per_class"]
    assert counts.axes[0].get_title(loc="left").startswith("Unweighted images, official test (n =")
    assert [axis.get_xlabel() for axis in recalls.axes] == ["recall, images weighted"] * 2
    assert "unweighted" in recalls.axes[0].get_yticklabels()[0].get_text()


def test_test_labels_move_no_threshold(official):
    table, arguments, output = official
    first = evaluate_official(**arguments, output=output, ood="energy")
    shuffled = table["diagnosis"].sample(frac=1, random_state=0).to_numpy()
    write_table(arguments["catalogue"], table.assign(diagnosis=shuffled))
    second = evaluate_official(**arguments, output=output, ood="energy")
    assert first["unknown"] == second["unknown"]
    assert first["all"] != second["all"]


def test_a_detector_that_tells_the_unknown_apart_is_listened_to(official):
    table, arguments, output = official
    # Wide logits: whose class is masked has a far higher energy.
    known = examples.catalogue(120, seed=1)
    strange = (table["diagnosis"] == UNKNOWN).to_numpy()
    for fold in range(2):
        clear = examples.predictions(known, fold, signal=12.0)[fold::2]
        write_table(arguments["validation"][fold], clear)
        tested = examples.predictions(table, fold, signal=12.0)
        assert tested["energy"][strange].min() > tested["energy"][~strange].max() - 12
        write_table(arguments["official"][fold], tested)
    found = evaluate_official(**arguments, output=output, ood="energy")
    unknown = found["unknown"]
    assert not unknown["never"]
    shown = unknown["validation"]
    assert shown["gain"] > shown["error"] >= 0
    assert unknown["kept"] == 1 - shown["share"]
    gained = found["all"]["nine_class"]["balanced_accuracy"]
    assert gained > found["never"]["all"]["nine_class"]["balanced_accuracy"] + 0.05


@pytest.mark.parametrize("spoil", ["unknown", "stranger"])
def test_validation_is_of_known_diagnoses_in_the_catalogue(official, spoil):
    _, arguments, output = official
    known = pd.read_csv(arguments["training"], keep_default_na=False)
    if spoil == "unknown":
        known.loc[3, "diagnosis"] = UNKNOWN
    else:
        known = known.drop(index=3)
    write_table(arguments["training"], known)
    with pytest.raises(InputError, match=r"no known diagnosis|not in the catalogue"):
        evaluate_official(**arguments, output=output, ood="energy")


def test_truth_is_one_hot_and_strange_diagnoses_are_refused():
    table = examples.catalogue(20)
    truth = truth_table(table)
    assert list(truth.columns) == ["image", *CLASSES, UNKNOWN]
    assert (truth[[*CLASSES, UNKNOWN]].sum(axis=1) == 1).all()
    with pytest.raises(InputError, match="'WART'"):
        truth_table(table.assign(diagnosis="WART"))
