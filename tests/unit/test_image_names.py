import time

import pytest

from melanoma.image_names import (
    ImageNames,
    as_file_names,
    as_path,
    composed,
    stem_of,
    without_common_folder,
    without_suffix,
)

TWO = ["in/anna/1.jpg", "in/bert/1.JPG", "in/bert/2.jpeg"]


@pytest.mark.parametrize(
    ("paths", "names", "found"),
    [
        (TWO, ["2", "2.jpeg", "2.jpg", "bert/2", "in/bert/2", "./2", "out/2"], [[2]] * 6 + [[]]),
        (TWO, ["anna/1", "anna\\1", "in/anna/1.jpg", "IN/anna/1"], [[0]] * 3 + [[]]),
        (TWO, ["1", "1.jpg", "1.png"], [[0, 1]] * 3),
        (TWO, ["nna/1", "a/1", "", "/1", "1.", "3"], [[]] * 6),
        (["in\\anna\\1.jpg"], ["anna/1", "1"], [[0]] * 2),
        (["a/x.jpg", "a/x.jpeg"], ["x", "x.jpg", "a/x.JPEG"], [[0, 1], [0], [1]]),
        (["x.png.jpg", "x.jpg"], ["x.png", "x", "x.jpg"], [[0], [1], [1]]),
        (["x.1.jpg"], ["x.1", "x", "x.1.jpg"], [[0], [], [0]]),
        (["u\u0308.jpg"], ["\u00fc", "u\u0308.jpg"], [[0]] * 2),
        (["NA.jpg", "001.jpg", ".jpg/.jpg"], ["NA", "001", "1"], [[0], [1], []]),
    ],
)
def test_names_find_images(paths, names, found):
    images = ImageNames(paths)
    assert [images.find(name) for name in names] == found


INNER = ["x.jpg", "anna/x.jpg", "bert/anna/x.jpg"]


@pytest.mark.parametrize(
    ("paths", "names", "found"),
    [
        (INNER[:2], ["x", "anna/x"], [[0], [1]]),
        (INNER[:2], ["anna/x.jpg", "x.jpg"], [[1], [0]]),
        (INNER[:2], ["x"], [[0, 1]]),
        (INNER, ["x", "anna/x", "bert/anna/x"], [[0], [1], [2]]),
        (INNER, ["x", "bert/anna/x"], [[0, 1, 2], [2]]),
    ],
)
def test_a_short_name_is_clear_where_the_others_are_named_by_path(paths, names, found):
    assert ImageNames(paths).match(names) == found


def test_many_files_of_one_name_take_no_time():
    paths = [f"in/patient{number}/1.jpg" for number in range(20_000)]
    began = time.process_time()
    found = ImageNames(paths).match([path.removeprefix("in/") for path in paths])
    # Each name compared with each file would take minutes.
    assert time.process_time() - began < 5
    assert found == [[place] for place in range(len(paths))]


def test_a_name_that_is_no_path_of_its_own_stays_ambiguous():
    images = ImageNames(["anna/x.jpg", "bert/x.jpg"])
    assert images.match(["x", "anna/x"]) == [[0, 1], [0]]


def test_the_folder_that_was_given_tells_what_lies_outside_any():
    images = ImageNames(["/photos/x.jpg", "/photos/anna/x.jpg"], ["x.jpg", "anna/x.jpg"])
    assert images.match(["x", "anna/x", "/photos/anna/x"]) == [[0], [1], [1]]


@pytest.mark.parametrize(
    ("paths", "inner"),
    [
        (["a/b/1.jpg", "a/b/2.jpg"], ["1.jpg", "2.jpg"]),
        (["a/b/1.jpg", "a/c/1.jpg"], ["b/1.jpg", "c/1.jpg"]),
        (["a/1.jpg", "1.jpg"], ["a/1.jpg", "1.jpg"]),
        (["a/b/1.jpg", "a/b1/1.jpg"], ["b/1.jpg", "b1/1.jpg"]),
        ([], []),
    ],
)
def test_common_folders(paths, inner):
    assert without_common_folder(paths) == inner


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (as_path, "a\\b.jpg", "a/b.jpg"),
        (as_path, "././a", "a"),
        (without_suffix, "a/b.JPG", "a/b"),
        (without_suffix, "b.1", "b.1"),
        (without_suffix, ".jpg", ".jpg"),
        (stem_of, "a.b/c", "a.b/c"),
        (stem_of, "a/b.c.jpg", "a/b.c"),
        (stem_of, "a/.jpg", "a/.jpg"),
        (composed, "e\u0301", "\u00e9"),
    ],
)
def test_parts_of_names(function, given, expected):
    assert function(given) == expected


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["a", "b c", "it's"], ["a", "b c", "it's"]),
        (["anna/1", "bert/1"], ["anna_1", "bert_1"]),
        (["anna/1", "anna_1"], ["anna_1-2", "anna_1"]),
        (["x", "x", "x-2", "x", "y"], ["x", "x-3", "x-2", "x-4", "y"]),
        (["A", "a"], ["A", "a-2"]),
        (["../../etc/x", "..\\x", "..", ".", ""], [".._.._etc_x", ".._x", "_..", "_.", "_"]),
        (["a\nb", "/a"], ["a_b", "_a"]),
        (["é" * 200], ["é" * 75]),
    ],
)
def test_names_of_files_stay_in_their_folder_and_never_collide(tmp_path, images, names):
    assert as_file_names(images) == names
    for name in names:
        (tmp_path / f"{name}.png").touch(exist_ok=False)
    assert len(list(tmp_path.iterdir())) == len(names)
