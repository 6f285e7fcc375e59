"""Logging around commands and scripts."""

import logging

import pytest

from melanoma.errors import InputError
from melanoma.logs import job_log


def test_an_input_error_is_one_line_in_the_log(tmp_path, capsys):
    log = tmp_path / "logs" / "rule.log"
    with pytest.raises(SystemExit) as stop, job_log(log):
        raise InputError("table.csv, row 3: wrong")
    assert stop.value.code == 2
    assert "table.csv, row 3: wrong" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert "row 3" in capsys.readouterr().err


def test_an_unexpected_error_leaves_its_traceback_in_the_log(tmp_path):
    log = tmp_path / "rule.log"
    with pytest.raises(ZeroDivisionError), job_log(log):
        raise ZeroDivisionError
    assert "Traceback" in log.read_text()


def test_handlers_go_with_the_job(tmp_path):
    logger = logging.getLogger("melanoma")
    before = list(logger.handlers)
    with job_log(tmp_path / "rule.log"):
        logger.info("step done")
    assert logger.handlers == before
    assert "step done" in (tmp_path / "rule.log").read_text()
