import cv2
import numpy as np
import pytest

from melanoma.skin_tone import COLUMNS, DARKEST, TONES, UNSEEN, ita, skin_tones, tone_of


def skin(angle, yellow=15.0, side=64):
    """A picture of even skin of a known angle."""
    lightness = 50 + yellow * np.tan(np.radians(angle))
    colour = np.array([[[lightness, 10.0, yellow]]], np.float32)
    rgb = cv2.cvtColor(colour, cv2.COLOR_Lab2RGB)[0, 0]
    assert (rgb >= 0).all()
    assert (rgb <= 1).all()
    return np.full((side, side, 3), np.rint(255 * rgb), np.uint8)


@pytest.mark.parametrize("angle", [60, 48, 35, 20, 0, -20, -45])
def test_the_angle_of_even_skin(angle):
    assert ita(skin(angle)[None])[0] == pytest.approx(angle, abs=1.5)


def lesion(picture):
    cv2.circle(picture, (32, 32), 20, (70, 40, 30), -1)


def round_field_of_view(picture):
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.circle(mask, (32, 32), 34, 1, -1)
    picture[mask == 0] = 4


def ruler(picture):
    picture[-5:] = 255
    picture[-3:-1, ::4] = 0


def lesion_over_a_corner(picture):
    cv2.circle(picture, (10, 10), 18, (70, 40, 30), -1)


@pytest.mark.parametrize("disturb", [lesion, round_field_of_view, ruler, lesion_over_a_corner])
def test_what_is_no_skin_has_little_say(disturb):
    picture = skin(35)
    before = picture.copy()
    disturb(picture)
    assert (picture != before).any()
    assert ita(picture[None])[0] == pytest.approx(35, abs=2)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((64, 64, 3)), np.full((64, 64, 3), 255), np.full((64, 64, 3), (170, 150, 190))],
    ids=["black", "white", "violet cast"],
)
def test_no_angle_without_skin(picture):
    angle = ita(picture.astype(np.uint8)[None])[0]
    assert np.isnan(angle)
    assert tone_of(angle) == UNSEEN


def test_tones_by_their_bounds():
    names = [*(name for _, name in TONES), DARKEST]
    angles = [90, *(least for least, _ in TONES)]
    assert [tone_of(angle) for angle in angles] == names
    assert [tone_of(least + 1e-6) for least, _ in TONES] == names[:-1]


def test_every_picture_has_a_row_whatever_the_block(monkeypatch):
    pictures = np.stack([skin(a) for a in (60, 0, -45)] + [np.zeros((64, 64, 3), np.uint8)])
    found = skin_tones(["d", "c", "b", "a"], pictures)
    assert tuple(found.columns) == COLUMNS
    assert list(found["image"]) == ["d", "c", "b", "a"]
    assert list(found["skin_tone"]) == ["very light", "brown", "dark", "not measurable"]
    assert np.isnan(found["ita"].iloc[3])
    monkeypatch.setattr("melanoma.skin_tone._BLOCK", 3)
    assert found.equals(skin_tones(["d", "c", "b", "a"], pictures))
    assert len(skin_tones([], pictures[:0])) == 0
