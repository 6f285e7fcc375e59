import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest

from melanoma.evaluation import subgroups
from melanoma.evaluation.metrics import point_figures
from melanoma.evaluation.tables import judge
from melanoma.files import write_table
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
