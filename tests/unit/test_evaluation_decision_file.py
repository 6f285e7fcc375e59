import json

import evaluation_examples
import pytest

from melanoma.errors import InputError
from melanoma.evaluation.calibration import fit_decision
from melanoma.evaluation.decision_file import read_decision
from melanoma.evaluation.scaling import BOTH
from melanoma.isic import CLASSES

POINT = {"goal": "sensitivity", "target": 0.9, "threshold": 0.2, "sensitivity": 0.9}
POINT |= {"specificity": 0.5, "lesions": 20, "right": 19}


@pytest.fixture(scope="module")
def decision():
    table = evaluation_examples.catalogue()
    counts = table["diagnosis"].value_counts().to_dict()
    raw = evaluation_examples.predictions(table)
    return fit_decision(raw, list(table["diagnosis"]), counts, "weighted")


@pytest.mark.parametrize("members", [None, ["../../training/fusion/fold0/model.ckpt"]])
def test_a_decision_reads_back_as_it_was_written(decision, tmp_path, members):
    path = tmp_path / "decision.json"
    value = decision | ({"members": members} if members else {})
    path.write_text(json.dumps(value))
    assert read_decision(path) == value


@pytest.mark.parametrize(
    "key",
    ["tta", "strength", "chosen", "at_bound", "absent_points", "without_metadata", "priors"],
)
def test_a_decision_of_an_older_version_is_refused(decision, tmp_path, key):
    """It would be misread: its prior shift had no strength, its points were not counted."""
    path = tmp_path / "decision.json"
    path.write_text(json.dumps({k: v for k, v in decision.items() if k != key}))
    with pytest.raises(InputError, match=rf"{key}: Field required.*run the workflow again"):
        read_decision(path)


OTHER = {"temperature": 1.0, "strength": None, "chosen": "raw", "at_bound": [], "default": None}
OTHER |= {"operating_points": {}, "absent_points": {}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", CLASSES[::-1], "classes are"),
        ("tta", "no", "tta: Input should be a valid boolean"),
        ("temperature", 0, "temperature: Input should be greater than or equal to 0.05"),
        ("temperature", "hot", "temperature: Input should be a valid number"),
        ("strength", 2.0, "strength: Input should be less than or equal to 1.5"),
        ("strength", "full", "strength: Input should be a valid number"),
        ("chosen", "shift", "chosen is 'shift', expected one of raw, temperature"),
        ("chosen", "raw", "strength is .* where 'raw' was chosen"),
        ("at_bound", ["tta"], "at_bound.0: Input should be 'temperature' or 'strength'"),
        ("priors", {"trained": {}}, "priors.trained"),
        ("priors", None, "priors"),
        ("operating_points", {"a": POINT | {"threshold": 7}}, "operating_points.a.threshold"),
        ("operating_points", {"a": {"threshold": 0.5}}, "operating_points.a.goal"),
        ("default", "best", "default 'best' is none of the operating points"),
        ("without_metadata", OTHER, "without_metadata has other operating points"),
        ("without_metadata", OTHER | {"temperature": -1}, "without_metadata.temperature"),
        ("members", [], "members: List should have at least 1 item"),
    ],
)
def test_what_does_not_fit_is_named(decision, tmp_path, key, value, message):
    path = tmp_path / "decision.json"
    path.write_text(json.dumps(decision | {"strength": 0.5, "chosen": BOTH} | {key: value}))
    with pytest.raises(InputError, match=message) as caught:
        read_decision(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 10_000])
def test_files_that_are_no_decision(tmp_path, content):
    path = tmp_path / "decision.json"
    with pytest.raises(InputError, match="no such file"):
        read_decision(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match="no decision of this version"):
        read_decision(path)
