import json

import evaluation_examples
import pytest

from melanoma.errors import InputError
from melanoma.evaluation.calibration import fit_decision
from melanoma.evaluation.decision_file import read_decision
from melanoma.isic import CLASSES


@pytest.fixture(scope="module")
def decision():
    table = evaluation_examples.catalogue()
    counts = table["diagnosis"].value_counts().to_dict()
    raw = evaluation_examples.predictions(table)
    return fit_decision(raw, list(table["diagnosis"]), counts, "weighted")


def test_a_decision_reads_back_as_it_was_written(decision, tmp_path):
    path = tmp_path / "decision.json"
    path.write_text(json.dumps(decision))
    assert read_decision(path) == decision


def test_decisions_of_before_views_were_noted_are_of_one(decision, tmp_path):
    path = tmp_path / "decision.json"
    path.write_text(json.dumps({key: value for key, value in decision.items() if key != "tta"}))
    assert read_decision(path)["tta"] is False


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", CLASSES[::-1], "classes are"),
        ("tta", "no", "tta: Input should be a valid boolean"),
        ("temperature", 0, "temperature: Input should be greater than 0"),
        ("temperature", "hot", "temperature: Input should be a valid number"),
        ("prior_correction", "no", "prior_correction: Input should be a valid boolean"),
        ("priors", {"trained": {}}, "priors.trained"),
        ("priors", None, "priors"),
        ("operating_points", {"a": {"threshold": 7}}, "operating_points.a.threshold"),
        ("default", "best", "default 'best' is none of the operating points"),
    ],
)
def test_what_does_not_fit_is_named(decision, tmp_path, key, value, message):
    path = tmp_path / "decision.json"
    path.write_text(json.dumps(decision | {key: value}))
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
