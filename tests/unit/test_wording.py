import pytest

from melanoma.wording import counted, first_few, quoted


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("process", "processes"), "1 process"),
        (2, ("process", "processes"), "2 processes"),
    ],
)
def test_a_count_has_the_noun_that_fits(number, words, expected):
    assert counted(number, *words) == expected


def test_a_long_list_is_cut_and_counted():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few([str(n) for n in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


def test_long_names_and_values_are_cut():
    assert quoted("it's") == '"it\'s"'
    assert quoted("a\nb") == "'a\\nb'"
    assert quoted("x" * 400) == f"'{'x' * 296}... (400 characters)"
    assert first_few(["n" * 500, "b"]) == f"{'n' * 117}..., b"
    assert first_few(["a", "b", "c"], 2) == "a, b and 1 more"
