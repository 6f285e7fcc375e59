import re

import pytest

from melanoma.errors import LINE, LINES, FaultError, InputError


@pytest.mark.parametrize("kind", [InputError, FaultError])
def test_a_message_is_never_longer_than_people_read(kind):
    long = f"t.csv: row 3: found {'x' * 40_000}; remove it"
    (line,) = str(kind(long)).splitlines()
    assert LINE - 40 < len(line) <= LINE
    assert line.startswith("t.csv: row 3: found xxx")
    assert line.endswith("xxx; remove it")
    left_out = int(re.search(r" \.\.\. (\d+) characters left out \.\.\. ", line)[1])
    assert line.count("x") + left_out == 40_000
    many = str(kind("\n".join(f"line {n}" for n in range(500)))).splitlines()
    assert len(many) == LINES
    assert many[-2:] == ["... 441 lines left out ...", "line 499"]


def test_an_ordinary_message_is_as_it_was_written():
    assert str(InputError("a: b\n  c")) == "a: b\n  c"
    assert str(InputError("y" * LINE)) == "y" * LINE
