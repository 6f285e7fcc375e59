"""The last words of a run."""

from pathlib import Path

import pytest

from melanoma import messages
from melanoma.files import write_json
from melanoma.messages import Failed, failed_jobs

ERROR = """[Wed Nov 25 03:48:02 2026]
Error in rule {rule}:
    message: None
    jobid: {job}
    input: a, b
    output: c
    log: {log} (check log file(s) for error details)
Logfile logs/x.log:
====
"""
FINISHED = "Finished jobid: {job} (Rule: {rule})\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (
            ERROR.format(rule="train", job=7, log="logs/train.log"),
            [Failed("train", (Path("logs/train.log"),))],
        ),
        (
            ERROR.format(rule="train", job=7, log="logs/train.log, /far/slurm/7.log"),
            [Failed("train", (Path("logs/train.log"), Path("/far/slurm/7.log")))],
        ),
        (
            ERROR.format(rule="train", job=7, log="a.log")
            + FINISHED.format(rule="train", job=7)
            + ERROR.format(rule="pack", job=77, log="b.log"),
            [Failed("pack", (Path("b.log"),))],
        ),
        (ERROR.format(rule="a", job=1, log="a.log") * 2, [Failed("a", (Path("a.log"),))]),
        ("Error in rule a:\n    jobid: 1\n", [Failed("a", ())]),
    ],
    ids=["none", "one", "two logs", "finished later", "two attempts", "no log"],
)
def test_jobs_that_failed_for_good(text, expected):
    assert failed_jobs(text) == expected


def test_a_failure_shows_the_end_of_the_log(tmp_path):
    log = tmp_path / "logs/train.log"
    log.parent.mkdir()
    lines = ["1 INFO begun", "2 ERROR first", "3 INFO again", "4 ERROR stopped", *"abcdefghij"]
    log.write_text("\n".join(lines))
    own = tmp_path / "snakemake.log"
    own.write_text(ERROR.format(rule="train", job=7, log="logs/train.log"))
    text = messages.failure(own, tmp_path)
    shown = [line.strip() for line in text.splitlines()]
    assert shown[2:11] == ["train", "logs/train.log", "4 ERROR stopped", *"ab…hij"]
    assert "first" not in text
    assert "start the same command again" in text


@pytest.mark.parametrize("log", [None, Path("nowhere.log")])
def test_a_failure_without_a_log_points_up(tmp_path, log):
    text = messages.failure(log and tmp_path / log, tmp_path)
    assert "the reason is above" in text


def test_a_log_that_is_gone_is_named_all_the_same(tmp_path):
    own = tmp_path / "snakemake.log"
    own.write_text(ERROR.format(rule="train", job=7, log="logs/train.log"))
    assert "logs/train.log" in messages.failure(own, tmp_path)


def test_success_tells_what_came_of_it(tmp_path):
    metrics = {
        "test": {"balanced_accuracy": 0.7123},
        "intervals": {"test": {"balanced_accuracy": [0.68, 0.74]}},
        "n": {"test": {"images": 90}},
    }
    write_json(tmp_path / "results/evaluation/fusion/metrics.json", metrics)
    write_json(
        tmp_path / "results/evaluation/plain/metrics.json",
        {"val": {"balanced_accuracy": None}, "intervals": {}, "n": {"val": {"images": 1}}},
    )
    (tmp_path / "results/MODEL_CARD.md").write_text("# Card")
    text = messages.success(tmp_path, ["fusion", "plain", "not yet"])
    assert "fusion: balanced accuracy 0.712 (0.680 to 0.740) on test, of 90 images" in text
    assert "plain: balanced accuracy undefined on val, of 1 image\n" in text
    assert "not yet" not in text
    assert "results/MODEL_CARD.md" in text
    assert "gradcam" not in text
    assert "tensorboard" not in text
    assert "no medical device" in text


def test_what_is_there_is_named(tmp_path):
    for name in ("results/gradcam", "results/official"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "index.html").touch()
    (tmp_path / "logs/tensorboard").mkdir(parents=True)
    text = messages.success(tmp_path, ["fusion"])
    for name in ("results/gradcam/index.html", "results/official/index.html", "tensorboard"):
        assert name in text
