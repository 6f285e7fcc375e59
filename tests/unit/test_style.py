import itertools

import matplotlib as mpl
import numpy as np
import pytest

from melanoma import style
from melanoma.isic import CLASSES, UNKNOWN

# Machado, Oliveira and Fernandes (2009), full severity, for linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def _linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(linear):
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ np.clip(linear, 0, 1)
        / [0.9505, 1.0, 1.089]
    )
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("vision", VISION)
def test_classes_are_told_apart(vision):
    assert set(style.CLASS_COLOURS) == set(style.CLASS_DASHES) == {*CLASSES, UNKNOWN}
    seen = {name: _lab(VISION[vision] @ _linear(c)) for name, c in style.CLASS_COLOURS.items()}
    for one, other in itertools.combinations(seen, 2):
        distance = np.linalg.norm(seen[one] - seen[other])
        same_dash = style.CLASS_DASHES[one] == style.CLASS_DASHES[other]
        # 2.3 is a just noticeable difference; lines of one dash have colour alone.
        assert distance > (18 if same_dash else 8), (one, other, distance)


def _figure():
    figure, axes = style.new_figure(4, 3, columns=2)
    with style.styled():
        axes[0].plot([0, 1], [0, 1], label="a line")
        axes[1].bar([0, 1], [1, 2])
        axes[0].legend()
        axes[0].set_ylabel("a label")
    return figure


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_equal_figures_give_equal_bytes(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        style.save_figure(_figure(), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_bytes()) > 1000


def test_svg_needs_no_font_and_names_no_date(tmp_path):
    style.save_figure(_figure(), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<text" not in text
    assert "dc:date" not in text
    assert "matplotlib.org" not in text


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="jpg"):
        style.save_figure(_figure(), tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_settings_stay_inside_and_user_settings_outside(tmp_path):
    before = mpl.rcParams["font.size"]
    with mpl.rc_context({"lines.linewidth": 9}):
        with style.styled():
            assert mpl.rcParams["lines.linewidth"] == 2.0
        assert mpl.rcParams["lines.linewidth"] == 9
    assert mpl.rcParams["font.size"] == before


def test_nothing_is_cut_off():
    figure, axes = style.new_figure(4, 3)
    axes[0].set_ylabel("quite a long label\nof two lines")
    axes[0].set_title("title")
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    box = axes[0].get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height
