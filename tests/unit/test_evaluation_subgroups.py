import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from melanoma.evaluation import subgroups
from melanoma.evaluation.bootstrap import Resamples
from melanoma.evaluation.metrics import point_figures
from melanoma.evaluation.recalibration import recalibration
from melanoma.evaluation.tables import Judged, judge
from melanoma.files import write_table
from melanoma.isic import CLASSES
from melanoma.skin_tone import skin_tones


def _judged(lesions=250):
    table = examples.catalogue(lesions)
    judged = judge(examples.predictions(table), table)
    return table, judged


def test_labels_of_metadata():
    table = pd.DataFrame(
        {
            "image": list("abcdef"),
            "lesion_id": ["BCN_1", "HAM_1", "MSK_1", "", "XYZ_1", "BCN_1"],
            "age": [np.nan, 0.0, 30.0, 44.9, 75.0, 85.0],
            "sex": ["female", "", "male", "male", "male", "male"],
            "site": ["head/neck", "palms/soles", "", "head/neck", "head/neck", "head/neck"],
        }
    )
    found = subgroups.labels(table)
    assert list(found["age"]) == ["missing", "under 30", "30-44", "30-44", *["75 and over"] * 2]
    assert list(found["sex"])[:2] == ["female", "missing"]
    assert list(found["site"])[2] == "missing"
    assert list(found["source"]) == ["BCN", "HAM", "MSK", "none", "other", "BCN"]
    assert list(found["metadata"]) == [*["a field missing"] * 3, *["complete"] * 3]


def test_each_part_is_judged_alone():
    table, judged = _judged()
    calibrated = judge(examples.predictions(table, seed=7, temperature=3.0), table)
    found = subgroups.subgroup_table(
        judged, calibrated, subgroups.labels(table), 0.3, resamples=40, seed=0
    )
    rows = found.set_index(["variable", "part"])
    for variable in ("sex", "age", "site", "source", "metadata"):
        assert rows.loc[variable, "images"].sum() == len(table)
    chosen = (table["source"] == "BCN").to_numpy()
    row = rows.loc[("source", "BCN")]
    alone = point_figures(judged.truth[chosen], judged.probabilities[chosen])
    for name in subgroups.FIGURES[:4]:
        assert row[name] == pytest.approx(alone.headline[name][0])
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    melanoma = judged.of_class("MEL")[chosen]
    called, by_raw = (one.probability_of("MEL")[chosen] >= 0.3 for one in (calibrated, judged))
    assert called[melanoma].mean() != by_raw[melanoma].mean()
    assert called[~melanoma].mean() != by_raw[~melanoma].mean()
    assert row["sensitivity_at_point"] == pytest.approx(called[melanoma].mean())
    assert row["specificity_at_point"] == pytest.approx((~called[~melanoma]).mean())
    assert row["groups"] == table["group"][chosen].nunique()
    assert row["melanomas"] == melanoma.sum()


def test_the_order_of_parts_is_for_reading():
    table, judged = _judged()
    tones = ["very light", "light", "intermediate", "tan", "brown", "dark", "not measurable"]
    places = np.arange(len(table)) * 5 % len(tones)
    parts = subgroups.labels(table).assign(**{"skin tone": np.array(tones)[places]})
    found = subgroups.subgroup_table(judged, judged, parts, None, resamples=0, seed=0)
    assert list(found["part"][found["variable"] == "skin tone"]) == tones
    ages = list(found["part"][found["variable"] == "age"])
    order = ["under 30", "30-44", "45-59", "60-74", "75 and over", "missing"]
    assert ages == [age for age in order if age in ages]
    assert found["sensitivity_at_point"].isna().all()


def test_small_parts_are_suppressed():
    table, judged = _judged(80)
    parts = pd.DataFrame({"image": table["image"], "size": "large"}).set_index("image")
    parts.iloc[: subgroups.LEAST_IMAGES - 1, 0] = "small"
    found = subgroups.subgroup_table(judged, judged, parts, 0.3, resamples=10, seed=0)
    small = found.set_index("part").loc["small"]
    assert small["suppressed"] == "fewer than 50 images"
    assert small[list(subgroups.FIGURES)].isna().all()
    assert small["images"] == subgroups.LEAST_IMAGES - 1


@pytest.mark.parametrize("few_are", ["melanomas", "others"])
@pytest.mark.parametrize("count", [5, 10])
def test_few_melanomas_hide_melanoma_figures_alone(few_are, count):
    table, judged = _judged(600)
    parts = pd.DataFrame({"image": table["image"], "kind": "rest"}).set_index("image")
    melanoma = (table["diagnosis"] == "MEL").to_numpy()
    few, many = (~melanoma, melanoma) if few_are == "melanomas" else (melanoma, ~melanoma)
    chosen = few & (np.arange(len(table)) % 2 == 0)
    chosen[np.flatnonzero(many)[:count]] = True
    parts.loc[chosen, "kind"] = "few"
    found = subgroups.subgroup_table(judged, judged, parts, 0.3, resamples=10, seed=0)
    row = found.set_index("part").loc["few"]
    hidden = ["melanoma_auroc", "melanoma_sensitivity"]
    hidden += ["sensitivity_at_point", "specificity_at_point"]
    enough = count >= subgroups.LEAST_MELANOMAS
    assert ("melanoma" in row["suppressed"]) != enough
    assert row[["balanced_accuracy", "macro_auroc"]].notna().all()
    assert list(row[hidden].notna()) == [enough] * 4


def test_images_with_odd_names_keep_their_skin_tone(tmp_path):
    tones = skin_tones(["001", "NA"], np.zeros((2, 32, 32, 3), np.uint8))
    write_table(tmp_path / "tones.csv", tones)
    table = subgroups.read_skin_tones(tmp_path / "tones.csv")
    assert table.to_dict("list") == {"image": ["001", "NA"], "skin tone": ["not measurable"] * 2}


def _with_parts(lesions=500):
    """Judged images in three parts of one kind, of which one lacks two classes."""
    table, judged = _judged(lesions)
    rng = np.random.default_rng(0)
    _, lesion = np.unique(table["group"], return_inverse=True)
    part = np.array(["a", "b", "c"], object)[rng.integers(0, 3, lesion.max() + 1)][lesion]
    few = np.isin(judged.truth, [3, 5])
    part[few & (part == "c")] = "a"
    return judged, pd.DataFrame({"kind": part}, index=pd.Index(judged.images, name="image"))


def test_sisters_are_compared_over_the_classes_that_all_have():
    judged, parts = _with_parts()
    found = subgroups.subgroup_table(judged, judged, parts, 0.3, resamples=200, seed=0)
    shared = [c for c in range(8) if c not in {3, 5}]
    assert set(found["shared_classes"]) == {" ".join(np.array(CLASSES)[shared])}
    assert list(found.set_index("part")["classes"]) == [8, 8, 6]
    decided = judged.probabilities.argmax(axis=1)
    for _, row in found.iterrows():
        inside = (parts["kind"] == row["part"]).to_numpy()
        own, rest = (
            np.mean([recall_score(judged.truth[m] == c, decided[m] == c) for c in shared])
            for m in (inside, ~inside)
        )
        areas = [
            roc_auc_score(judged.truth[inside] == c, judged.probabilities[inside, c])
            for c in shared
        ]
        assert row["balanced_accuracy"] == pytest.approx(own)
        assert row["macro_auroc"] == pytest.approx(np.mean(areas))
        difference = row["balanced_accuracy_difference"]
        assert difference == pytest.approx(own - rest)
        low, high = (row[f"balanced_accuracy_difference_{end}"] for end in ("low", "high"))
        assert low < difference < high
        # Apart, their errors add up as squares do.
        apart = row["balanced_accuracy_high"] - row["balanced_accuracy_low"]
        assert high - low > apart
        assert high - low < 2 * apart


def test_the_difference_to_the_rest_covers_none_where_there_is_none():
    truth = np.tile(np.arange(8), 30)
    groups = pd.Series([f"g{n}" for n in range(len(truth))])
    parts = np.arange(len(truth)) // 8 % 3 == 0
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        right = rng.random(len(truth)) < 0.85
        probabilities = np.full((len(truth), 8), 0.02)
        probabilities[np.arange(len(truth)), np.where(right, truth, (truth + 1) % 8)] = 0.86
        judged = Judged(tuple(groups), truth, probabilities, groups)
        draws = Resamples.by_group(groups.to_numpy(str), 200, seed)
        ((_, ends),) = subgroups.differences(judged, [(parts, np.ones(8, bool))], draws)
        held.append(ends[0] <= 0 <= ends[1])
    assert np.mean(held) >= 0.93


def test_a_part_too_small_to_judge_takes_no_class_from_its_sisters():
    judged, parts = _with_parts()
    small = np.flatnonzero(judged.truth == 0)[: subgroups.LEAST_IMAGES - 1]
    parts.iloc[small, 0] = "small"
    found = subgroups.subgroup_table(judged, judged, parts, 0.3, resamples=0, seed=0)
    assert len(found.set_index("part").loc["a", "shared_classes"].split()) == 6
    assert found.set_index("part").loc["small", "suppressed"]


def test_a_part_without_sisters_is_of_no_less_than_its_own_classes():
    judged, parts = _with_parts(200)
    parts["kind"] = "all"
    found = subgroups.subgroup_table(judged, judged, parts, 0.3, resamples=50, seed=0).iloc[0]
    whole = point_figures(judged.truth, judged.probabilities).headline
    assert found["balanced_accuracy"] == pytest.approx(whole["balanced_accuracy"][0])
    assert np.isnan(found["balanced_accuracy_difference"])
    assert np.isnan(found["balanced_accuracy_difference_low"])


def test_each_part_has_its_own_calibration():
    judged, parts = _with_parts()
    found = subgroups.subgroup_table(judged, judged, parts, 0.3, resamples=0, seed=0)
    for _, row in found.iterrows():
        inside = (parts["kind"] == row["part"]).to_numpy()
        alone = recalibration(
            judged.of_class("MEL")[inside],
            judged.probability_of("MEL")[inside],
            judged.groups.to_numpy(str)[inside],
        )
        assert row["calibration_slope"] == pytest.approx(alone["slope"].value)
        assert row["calibration_intercept_low"] == pytest.approx(alone["intercept"].ends[0])
