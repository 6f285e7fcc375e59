"""Bars on terminals, lines in logs."""

import io

import pytest

from melanoma import progress
from melanoma.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_gets_one_line_that_is_redrawn(clock, caplog):
    caplog.set_level("INFO")
    stream = Terminal()
    shown = Progress("predicting", stream)
    for done in range(1, 11):
        clock[0] += 1
        shown.tell(done, 10)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "predicting 4 of 10, 6 s to go" in text
    assert f"[{'#' * 30}] predicting 10 of 10" in text
    assert not caplog.records


def test_a_log_gets_a_line_now_and_then_and_at_the_end(clock, caplog):
    caplog.set_level("INFO")
    stream = io.StringIO()
    shown = Progress("predicting", stream)
    for done in range(1, 51):
        clock[0] += 1
        shown.tell(done, 50)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "predicting 20 of 50, 30 s to go",
        "predicting 40 of 50, 10 s to go",
        "predicting 50 of 50",
    ]
    assert stream.getvalue() == ""


def test_fast_steps_are_not_redrawn_for_each_thing(clock):
    stream = Terminal()
    shown = Progress("drawing", stream)
    for done in range(1, 1001):
        clock[0] += 0.001
        shown.tell(done, 1000)
    assert stream.getvalue().count("\r") < 20


def test_nothing_to_do_is_done(clock):
    stream = Terminal()
    Progress("drawing", stream).tell(0, 0)
    assert stream.getvalue().endswith("\n")
