"""Headline figures, the report's first words, the model card and the provenance to read."""

import copy
import html
import io
import re
import zipfile

import pandas as pd
import pytest
from docutils.core import publish_parts

from melanoma import config, isic, notice
from melanoma.files import write_json
from melanoma.pages import card, headline, plan, provenance, summary
from melanoma.pages.decision import decision_texts
from melanoma.pages.document import to_html, to_markdown
from melanoma.pages.headline import Evaluated

METRICS = {
    "val": {"balanced_accuracy": 0.9, "macro_auroc": 0.97, "melanoma_auroc": None},
    "test": {"balanced_accuracy": 0.712, "macro_auroc": 0.94, "melanoma_auroc": 0.9},
    "intervals": {"test": {"balanced_accuracy": [0.684, 0.74]}},
    "n": {
        "val": {"images": 91, "classes": {"MEL": 14}},
        "test": {"images": 90, "classes": {"MEL": 15}},
    },
    "melanoma": {
        "models": 1,
        "default": "sensitivity_90",
        "thresholds": {"sensitivity_90": 0.123},
        "reached": {
            "test": {
                "sensitivity_90": {
                    "sensitivity": 0.88,
                    "sensitivity_low": 0.8,
                    "sensitivity_high": 0.95,
                    "specificity": 0.7,
                    "specificity_low": None,
                    "specificity_high": None,
                }
            }
        },
    },
    "bootstrap": {"resamples": 500},
    "calibration": {"val": {"calibrated": {"ece": 0.02}}, "test": {"calibrated": {"ece": None}}},
}

AUDIT = pd.DataFrame(
    [
        ("0", "images", "", "419", "91", "90", "600"),
        ("0", "lesions", "", "197", "47", "43", "287"),
        ("0", "images without a lesion id", "", "34", "7", "6", "47"),
        ("0", "share of images whose lesion is in train", "image by image", "", ".6", ".544", ""),
    ],
    columns=["fold", "quantity", "value", "train", "val", "test", "all"],
)

PROVENANCE = {
    "commit": "abc+changes",
    "config": {"images": {"size": 64}, "data": {"test": None}},
    "starts": {"results/training/fusion/fold0": []},
    "versions": {"python": "3.11", "torch": "2.14"},
    "more": {"key": "value"},
}


POINT = {"goal": "sensitivity", "target": 0.9, "threshold": 0.123, "sensitivity": 0.93}
POINT |= {"specificity": 0.6, "lesions": 14, "right": 14}
SET = {
    "temperature": 1.84,
    "strength": 0.52,
    "chosen": "temperature_and_strength",
    "at_bound": [],
    "operating_points": {"sensitivity_90": POINT},
    "absent_points": {"sensitivity_95": "95 % sensitivity takes at least 19 lesions"},
    "default": "sensitivity_90",
}
DECISION = SET | {
    "classes": list(isic.CLASSES),
    "tta": False,
    "priors": dict.fromkeys(("trained", "natural"), dict.fromkeys(isic.CLASSES, 0.125)),
    "validation": {"few_lesions": ["DF", "VASC"]},
    "without_metadata": None,
}


def _evaluated(metrics=METRICS, folds=1, decision=DECISION, **overrides):
    experiment = config.parse({"experiments": {"fusion": overrides}}).experiment("fusion")
    history = pd.DataFrame({"fold": range(folds), "seed": 0, "epoch": range(4, 4 + folds)})
    history["val_balanced_accuracy"] = 0.5
    return Evaluated(experiment, metrics, history, decision)


def test_every_headline_figure_has_its_interval_or_a_word():
    table = headline.figures_table(_evaluated()).set_index("figure")
    assert list(table.columns) == ["validation", "test"]
    assert table.loc["balanced accuracy"].tolist() == ["0.900", "0.712 (0.684 to 0.740)"]
    assert table.loc["melanoma AUROC", "validation"] == "not defined"
    at_point = table.loc["melanoma sensitivity, at the threshold"]
    assert at_point.tolist() == ["not defined", "0.880 (0.800 to 0.950)"]
    assert table.loc["melanoma specificity, at the threshold", "test"] == "0.700"


def test_a_figure_without_interval_says_why_where_others_have_one():
    assert to_markdown(_card(official=True)).count("too few lesions for one") == 1
    metrics = copy.deepcopy(METRICS) | {"intervals": {}}
    for end in ("low", "high"):
        metrics["melanoma"]["reached"]["test"]["sensitivity_90"][f"sensitivity_{end}"] = None
    assert "too few lesions" not in to_markdown(_card(official=True, metrics=metrics))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, ["resnet50 from ImageNet weights with metadata (age, sex, site)", "5 epochs of at"]),
        ({"model": {"image": False}}, ["metadata (age, sex, site)", "not used"]),
        ({"model": {"metadata": False, "pretrained": False}}, ["resnet50 from random weights"]),
        ({"model": {"fusion": "metablock"}}, ["by metablock"]),
        ({"model": {"weights": "own/skin.pth"}}, ["resnet50 from the weights own/skin.pth"]),
        ({"images": {"hair_removal": "none", "size": 128}}, ["128 px, framing crop, hair left in"]),
        ({"training": {"exclude_sources": ["MSK"], "lr": 0.01}}, ["rate 0.01, without MSK"]),
    ],
)
def test_an_experiment_is_told_in_words(overrides, words):
    row = headline.experiments_table([_evaluated(**overrides)]).iloc[0]
    for word in words:
        assert word in " | ".join(row)


def test_sizes_are_told_for_one_and_for_several_folds():
    text = headline.sizes_text(_evaluated(), AUDIT)
    assert text.startswith(
        "trained on 419 images (385 of 197 known lesions, 34 without a lesion id), "
        "validated on 91 and tested on 90"
    )
    again = pd.concat([AUDIT, AUDIT.assign(fold="1")])
    assert "the first of 2 folds" in headline.sizes_text(_evaluated(), again)
    assert "5-6 epochs" in headline.training_text(config.Training(), _evaluated(folds=2).history)
    once = pd.DataFrame({"fold": [0], "seed": 0, "epoch": [0], "val_balanced_accuracy": [0.5]})
    assert headline.training_text(config.Training(), once).startswith("1 epoch of at most")


def test_sizes_leave_out_the_sources_that_training_does():
    shares = [("0", "share of source", name, share, "", "", "") for name, share in SHARES]
    audit = pd.concat([AUDIT, pd.DataFrame(shares, columns=AUDIT.columns)])
    one = _evaluated(training={"exclude_sources": ["BCN", "none"]})
    words = "trained on 202 of 419 images, without BCN and none, validated on 91 and tested on 90"
    assert headline.sizes_text(one, audit).startswith(words)


SHARES = [("BCN", "0.436754"), ("HAM", "0.482101"), ("none", "0.081146")]


def test_the_epoch_of_the_model_is_told():
    history = pd.DataFrame(
        {"fold": 0, "seed": 0, "epoch": range(4), "val_balanced_accuracy": [0, 0.4, 0.9, 0.6]}
    )
    one = _evaluated()
    one = Evaluated(one.experiment, one.metrics, history, DECISION)
    words = "4 epochs of at most 30 (best: epoch 2, counted from 0), "
    assert headline.experiments_table([one]).loc[0, "training"].startswith(words)
    assert "best: epoch 4" in to_markdown(_card(official=False))


def test_the_predictive_value_stands_beside_the_prevalence():
    table = headline.figures_table(_evaluated()).set_index("figure")
    place = list(table.index).index(headline.AT_POINT["ppv"])
    assert table.index[place + 1] == headline.PREVALENCE
    assert table.loc[headline.PREVALENCE].tolist() == [
        "14 of 91 images, 15.4 %",
        "15 of 90 images, 16.7 %",
    ]
    assert "| 15 of 90 images, 16.7 % |" in to_markdown(_card(official=False))


def test_headline_figures_have_no_filter():
    page = headline.document([_evaluated()], AUDIT, "Look.")
    assert "<select" not in to_html(page)


def test_a_prevalence_lacks_no_interval():
    metrics = copy.deepcopy(METRICS)
    ends = {name: [0.1, 0.9] for name in headline.FIGURES}
    metrics["intervals"] = {"val": ends, "test": ends}
    metrics["melanoma"]["reached"]["test"]["sensitivity_90"] |= {"specificity": None}
    assert len(headline.figures_blocks(_evaluated(metrics))) == 1
    assert len(headline.figures_blocks(_evaluated())) == 2


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (("419", "197", "0"), "419 images of 197 lesions,"),
        (("3", "1", "2"), "3 images (1 of 1 known lesion, 2 without a lesion id),"),
        (("1", "0", "1"), "1 image without a lesion id,"),
    ],
)
def test_the_sizes_of_training_add_up(train, words):
    audit = AUDIT.copy()
    audit.loc[:2, "train"] = train
    assert headline.sizes_text(_evaluated(), audit).startswith(f"trained on {words}")


def test_without_melanoma_there_is_no_threshold():
    metrics = copy.deepcopy(METRICS)
    metrics["melanoma"] |= {"default": None, "thresholds": {}}
    reason = "90 % sensitivity takes at least 9 melanoma lesions in validation; there are 7"
    none = {"default": None, "operating_points": {}, "absent_points": {"sensitivity_90": reason}}
    text = headline.point_text(_evaluated(metrics, decision=DECISION | none))
    assert text == f"There is no melanoma threshold: {reason}."
    assert "0.123" in headline.point_text(_evaluated())


@pytest.mark.parametrize("models", [1, 5])
def test_a_threshold_of_single_models_is_told_where_their_mean_is_shown(models):
    metrics = copy.deepcopy(METRICS)
    metrics["melanoma"]["models"] = models
    metrics["melanoma"]["reached"]["val"] = {"sensitivity_90": {"sensitivity": 0.91}}
    told = "mean of 5 models, which strays less: sensitivity is 0.910 on validation and 0.880 on"
    places = [
        headline.opening([_evaluated(metrics)], AUDIT),
        to_html(headline.document([_evaluated(metrics)], AUDIT, "Look.")),
        to_markdown(_card(official=False, metrics=metrics)),
    ]
    assert [told in text for text in places] == [models > 1] * 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "at a temperature of 1.84, shifted 0.52 of the way from the priors that the loss"),
        ({"chosen": "temperature", "strength": 0.0}, "1.84; to shift them to the real priors too"),
        ({"chosen": "temperature", "strength": None}, "the raw ones at a temperature of 1.84."),
        ({"chosen": "raw", "strength": 0.0}, "a temperature, with the priors or not, predicted"),
        ({"chosen": "raw", "strength": None}, "the raw ones: a temperature predicted lesions"),
        ({"at_bound": ["strength"]}, "the strength was stopped by its bounds, 0 to 1.5"),
        ({"at_bound": ["temperature"]}, "the temperature was stopped by its bounds, 0.05 to 20"),
        ({}, "fewer than 5 lesions of DF, VASC"),
        ({}, "No threshold sensitivity_95: 95 % sensitivity takes at least 19 lesions."),
        (
            {"without_metadata": SET | {"temperature": 2.5}},
            "Of an image without any metadata they are the raw ones at a temperature of 2.5,",
        ),
        (
            {"without_metadata": SET},
            "Its melanoma threshold is 0.123: on validation, predicted without metadata, it "
            "reaches a sensitivity of 0.930 and a specificity of 0.600.",
        ),
    ],
)
def test_calibration_is_told_in_words(changes, told):
    one = _evaluated(decision=DECISION | changes)
    assert told in " ".join(decision_texts(one.decision))
    text = html.unescape(to_html(headline.document([one], AUDIT, "Look.")))
    assert told in text
    assert told in to_markdown(_card(official=True, decision=DECISION | changes))


def test_the_first_words_are_valid_and_hold_the_figures():
    text = headline.opening([_evaluated(), _evaluated(model={"metadata": False})], AUDIT)
    html = publish_parts(text, writer="html5", settings_overrides={"halt_level": 2})["body"]
    assert html.count("<tr>") == 1 + 5
    assert "0.712 (0.684 to 0.740)" in html
    assert "Compared with it: fusion (resnet50 from ImageNet weights)" in html


def _card(*, official, metrics=METRICS, decision=DECISION, checks=None):
    columns = {"subset": ["val", "test"], "class": "MEL", "support": 15, "recall": 0.5}
    groups = {"subset": ["test"] * 2, "variable": "sex", "part": ["female", "male"], "images": 60}
    return card.document(
        _evaluated(metrics, decision=decision),
        audit=AUDIT,
        per_class=pd.DataFrame(columns),
        subgroups=pd.DataFrame(groups | {"suppressed": [None, "too few"], "melanomas": 7}),
        provenance=PROVENANCE,
        models=["results/training/fusion/fold0/model.ckpt"],
        official=official,
        origin=notice.DATA_LICENCE if official else card.NOT_OFFICIAL,
        checks=checks,
    )


CHECKS = "check,item,value,expected_by_chance,images,difference,low,high\n"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            "deletion,mean,0.5,0.6,16,0.1,0.02,0.18",
            "lower by 0.100, 95 % interval 0.020 to 0.180, 16 images).",
        ),
        (
            "deletion,mean,0.5,0.6,16,0.1,-0.02,0.22",
            "interval -0.020 to 0.220, 16 images): these maps are no better than chance here.",
        ),
        # Of a single lesion, no interval.
        ("deletion,mean,0.5,0.6,1,0.1,,", "by 0.100, 1 image): these maps are no better than"),
        ("deletion,mean,,,0,,,", "has any heat: these maps are no better than chance here."),
        ("", None),
    ],
)
def test_the_card_says_whether_maps_are_better_than_chance(row, words):
    checks = pd.read_csv(io.StringIO(CHECKS + row))
    text = " ".join(to_markdown(_card(official=False, checks=checks)).split())
    if words is None:
        assert "Blurring the hottest" not in text
    else:
        assert words in text


@pytest.mark.parametrize("official", [True, False])
def test_the_card_claims_of_the_data_what_is_known(official):
    text = to_markdown(_card(official=official))
    assert ("CC BY-NC 4.0" in text) == official
    assert ("Vienna" in text) == official
    assert ("not the official ISIC 2019" in text) != official
    assert "no medical device" in text
    assert "commit abc+changes" in text
    assert "54% of the test images" in text
    assert "calibration error" not in text
    assert "female" in text
    assert "| male" not in text
    assert text.count("| MEL |") == 1


def test_provenance_is_read_key_by_key():
    page = to_html(provenance.document(PROVENANCE, "Look."))
    for text in ("images: size", ">64<", "data: test", ">none<", "abc+changes", "<h2>more</h2>"):
        assert text in page


def test_provenance_is_headed_and_measured_in_words():
    training = {"starts": 3, "measured": 2, "hours": 1.25, "gpu_hours": 5.0, "kilowatt_hours": None}
    time = {"jobs": 2.0, "hours": 0.5, "cpu_hours": 0.0837, "max_memory_mb": 1344.27}
    found = PROVENANCE | {"training": {"fusion/fold0": training}, "time": {"train": time}}
    found["results"] = {"model.ckpt": {"sha256": "12ab"}}
    page = to_html(provenance.document(found, "Look."))
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert {"Results", "Time and energy of the trainings", "Time and memory of each rule"} < set(
        headings
    )
    cells = re.findall("<td>(.*?)</td><td>(.*?)</td>", page)
    for pair in (
        ("fusion/fold0: starts", "3"),
        ("fusion/fold0: starts measured (the others were killed)", "2"),
        ("fusion/fold0: GPU hours, of the starts measured", "5"),
        ("fusion/fold0: energy of the GPUs (kWh)", "not measured"),
        ("train: jobs", "2"),
        ("train: CPU hours, all jobs", "0.0837"),
        ("train: most memory of a job (MB)", "1344.27"),
        ("model.ckpt: sha256", "12ab"),
    ):
        assert pair in cells


@pytest.mark.parametrize(
    ("attribution", "origin", "compared", "said"),
    [
        (notice.DRAWN_ATTRIBUTION, notice.DRAWN, "fusion,1\nother,1\n", True),
        ("Our own.", card.NOT_OFFICIAL, "fusion,3\nother,1\n", False),
        ("Our own.", card.NOT_OFFICIAL, "fusion,1\n", False),
    ],
)
def test_the_summary_is_written_from_the_files(tmp_path, attribution, origin, compared, said):
    write_json(tmp_path / "metrics.json", METRICS)
    write_json(tmp_path / "decision.json", DECISION)
    write_json(tmp_path / "provenance.json", PROVENANCE)
    _evaluated().history.to_csv(tmp_path / "history.csv")
    AUDIT.to_csv(tmp_path / "audit.csv", index=False)
    (tmp_path / "per_class.csv").write_text("subset,class,support\ntest,MEL,1\n")
    (tmp_path / "subgroups.csv").write_text(
        "subset,variable,part,images,shared_classes,suppressed\n"
    )
    (tmp_path / "truth.csv").write_text("image,MEL\n")
    (tmp_path / "checks.csv").write_text(f"{CHECKS}deletion,mean,0.5,0.6,16,0.1,0.02,0.18\n")
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/comparison.svg").write_text("<svg/>")
    (tmp_path / "evaluation/comparison.csv").write_text(f"experiment,seeds\n{compared}")
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("inner/ATTRIBUTION.txt", attribution)
    pages = [tmp_path / f"{page.name}.html" for page in plan.SUMMARY]
    summary.write_summary(
        [_evaluated().experiment],
        summary.Sources(
            metrics=[tmp_path / "metrics.json"],
            decisions=[tmp_path / "decision.json"],
            histories=[tmp_path / "history.csv"],
            per_class=tmp_path / "per_class.csv",
            subgroups=tmp_path / "subgroups.csv",
            audit=tmp_path / "audit.csv",
            provenance=tmp_path / "provenance.json",
            ground_truth=tmp_path / "truth.csv",
            archive=archive,
            checks=tmp_path / "checks.csv",
        ),
        results=tmp_path,
        pages=pages,
        opening=tmp_path / "opening.rst",
        card=tmp_path / "MODEL_CARD.md",
        models=["model.ckpt"],
        captions={page.caption: "Look." for page in plan.SUMMARY},
    )
    assert all("<h1>" in page.read_text() for page in pages)
    why = "No difference is marked. There is one seed: the luck of a seed cannot be told from an"
    assert (why in (tmp_path / "comparison.html").read_text()) is said
    written = (tmp_path / "MODEL_CARD.md").read_text()
    assert written.startswith("# Model card: fusion\n")
    assert "sooner than blurring random ones does" in written
    for name in ("opening.rst", "MODEL_CARD.md"):
        assert origin in (tmp_path / name).read_text()


def test_the_official_data_are_told_by_their_checksum(tmp_path, monkeypatch):
    path = tmp_path / "truth.csv"
    path.write_text("x")
    assert not summary.is_official(path)
    known = isic.OfficialFile("", sha256=summary.sha256_of(path))
    monkeypatch.setitem(isic.OFFICIAL_FILES, ("train", "ground_truth"), known)
    assert summary.is_official(path)
