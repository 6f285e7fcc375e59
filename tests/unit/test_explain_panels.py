import math
import re

import explain_examples
import numpy as np
import pytest
from PIL import Image

from melanoma import drawing, isic, style
from melanoma.explain import gallery, panels
from melanoma.explain.scale import FAINT, OF_A_GALLERY, OF_A_PAIR
from melanoma.explain.selection import CHOICES, CONFIDENT, RANDOM, select_examples


def _told(**changes):
    told = {
        "image": "ISIC_0000001",
        "diagnosis": "MEL",
        "predicted": "NV",
        "correct": False,
        "probability": 0.91,
        "melanoma_probability": 0.07,
        "age": 55.0,
        "sex": "female",
        "site": "anterior torso",
        "source": "HAM",
        "choice": CONFIDENT,
        "rank": 1,
        "heat_maximum": 0.31,
        "melanoma_heat_maximum": 0.0214,
        "grid": "7 x 7",
    }
    told |= dict.fromkeys(isic.CLASSES, 0.125)
    told |= {f"{name}_calibrated": 0.1 for name in isic.CLASSES}
    return told | changes


def _example(**changes):
    heat = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    return panels.Example(_told(**changes), explain_examples.pixels(1, 32)[0], heat, heat.T.copy())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            "Wrong: true class MEL (melanoma), predicted NV (melanocytic nevus)",
        ),
        ({"correct": True}, "Right: true class MEL"),
        ({"diagnosis": ""}, "ISIC_0000001: predicted NV"),
        ({}, "probability of NV 0.910 (raw) · MEL 0.070 (calibrated) · ISIC_0000001"),
        ({"melanoma_probability": math.nan}, "MEL not calibrated"),
        ({}, "age 55 · female · anterior torso"),
        ({"age": math.nan, "sex": "", "site": ""}, "age unknown · sex unknown · site unknown"),
    ],
)
def test_text_tells_of_the_example(changes, expected):
    assert expected in "\n".join(panels.describe(_told(**changes)))


def test_a_panel_holds_the_image_and_both_maps():
    example = _example()
    panel = panels.draw_panel(example, scale=OF_A_GALLERY)
    side, gap = panels.TILE, panels.TILE + 8
    top = next(y for y in range(panel.shape[0]) if (panel[y, 16:26] != 255).any(-1).all())
    tiles = [panel[top : top + side, 16 + i * gap : 16 + i * gap + side] for i in range(3)]
    wanted = (
        example.pixels,
        drawing.overlay(example.pixels, example.heat),
        drawing.overlay(example.pixels, example.melanoma_heat),
    )
    for tile, picture in zip(tiles, wanted, strict=True):
        np.testing.assert_array_equal(tile, drawing.fit(picture, side, side))


def _panel(example):
    return panels.draw_panel(example, scale=OF_A_GALLERY)


def _keys(picture):
    """How often a picture has the colours of heat from low to high in a row."""
    ramp = drawing.heat_picture(np.linspace(0, 1, 120, dtype=np.float32)[None])
    places = np.argwhere((picture == ramp[0, 0]).all(-1))
    rows = {y for y, x in places if np.array_equal(picture[y : y + 1, x : x + 120], ramp)}
    return sum(y - 1 not in rows for y in rows)


def test_pictures_have_a_key_of_their_colours():
    assert _keys(_panel(_example())) == 1
    assert _keys(panels.draw_contact_sheet([_example()], title=["Maps"])) == 1
    assert _keys(panels.draw_contact_sheet([], title=["Nothing to explain"])) == 0


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["55 years · female", "anterior torso"]),
        ({"age": math.nan, "sex": "", "site": ""}, ["age unknown · sex unknown", "site unknown"]),
    ],
)
def test_an_age_on_the_sheet_has_its_unit(monkeypatch, changes, lines):
    seen = []

    def keep(rows, **options):
        seen.extend(rows)
        return np.full((200, 700, 3), 255, np.uint8)

    monkeypatch.setattr(drawing, "draw_sheet", keep)
    panels.draw_contact_sheet([_example(**changes)], title=["Maps"])
    assert list(seen[0].cells[0].caption[2:]) == lines


def test_the_sheet_tells_confident_from_random_examples(monkeypatch):
    seen = {}

    def keep(rows, **options):
        seen.update(options, rows=rows)
        return np.full((200, 700, 3), 255, np.uint8)

    monkeypatch.setattr(drawing, "draw_sheet", keep)
    examples = [
        _example(diagnosis="NV", correct=correct, choice=choice, probability=probability)
        for correct, choice, probability in (
            (True, CONFIDENT, 0.9),
            (True, RANDOM, 0.5),
            (True, RANDOM, 0.6),
            (False, RANDOM, 0.7),
        )
    ]
    panels.draw_contact_sheet(examples, title=["Maps", "Beware."])
    assert seen["headings"] == [
        (0, "right, most confident"),
        (1, "right, random"),
        (3, "wrong, random"),
    ]
    captions = [cell.caption[0] for cell in seen["rows"][0].cells]
    assert captions == [f"NV {value:.3f} (raw)" for value in (0.9, 0.5, 0.6, 0.7)]
    assert seen["title"][:2] == ("Maps", "Beware.")
    assert "(7 x 7 cells)" in seen["title"][2]
    assert OF_A_GALLERY in seen["title"][3]


@pytest.mark.parametrize("words", [OF_A_GALLERY, OF_A_PAIR])
def test_no_caption_of_a_panel_is_cut(monkeypatch, words):
    written = []
    shorten = drawing.shorten

    def keep(text, face, width):
        written.append(text)
        assert shorten(text, face, width) == text
        return text

    monkeypatch.setattr(drawing, "shorten", keep)
    changes = {"heat_maximum": 0.000123, "melanoma_heat_maximum": 123456.0, "grid": "14 x 14"}
    panels.draw_panel(_example(**changes), scale=words)
    assert f"14 x 14 cells; {words}" in written
    assert "heat for NV, predicted: maximum 0.00012" in written


@pytest.mark.parametrize("name", isic.CLASSES)
def test_no_line_of_a_panel_is_cut(name):
    told = _told(diagnosis="SCC", predicted=name, image="ISIC_0000001_downsampled")
    lines = panels.describe(told)
    faces = [drawing.font(18, bold=True), *[drawing.font(18)] * 2]
    width = 3 * panels.TILE
    assert all(face.getlength(line) < width for face, line in zip(faces, lines, strict=True))


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        (0.0, "no place raised the score of NV"),
        (0.001, "hardly any heat for NV"),
        (FAINT - 0.001, "hardly any heat for NV"),
        (FAINT, ""),
        (1.0, ""),
    ],
)
def test_a_dark_map_says_what_it_means(strength, words):
    full = _example()
    heat = full.heat * np.float32(strength)
    shown = panels.Example(full.told, full.pixels, heat, full.melanoma_heat)
    lines = panels.plain_text(heat, "NV")
    assert " ".join(lines) == words
    assert all(drawing.font(11).getlength(line) < panels.SHEET_TILE - 8 for line in lines)
    for draw in (_panel, lambda one: panels.draw_contact_sheet([one], title=["Maps"])):
        dark = [(draw(one) == drawing.INK).all(-1).sum() for one in (full, shown)]
        assert (dark[1] > dark[0] + 1000) == bool(words)
    note = f'<span class="cam cam-predicted empty">{words}</span>'
    assert (note in _page([shown])) is bool(words)
    told = _told(predicted="MEL")
    page = _page([panels.Example(told, full.pixels, heat, heat)])
    assert ('cam-melanoma empty">' in page) is bool(words)


def test_the_sheet_has_a_row_for_each_class():
    examples = [_example(), _example(diagnosis="NV", correct=True)]
    one = panels.draw_contact_sheet(examples[:1], title=["Maps"])
    two = panels.draw_contact_sheet(examples, title=["Maps"])
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] > one.shape[0]
    empty = panels.draw_contact_sheet([], title=["Nothing to explain"])
    assert empty.shape[0] < one.shape[0]
    assert (empty != 255).any()


@pytest.mark.parametrize("shape", [(20, 40), (40, 20), (30, 30), (300, 2)])
def test_pictures_keep_their_proportions(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    box = drawing.fit(picture, 60, 60)
    assert box.shape == (60, 60, 3)
    black = (box == 0).all(-1)
    height, width = black.any(1).sum(), black.any(0).sum()
    assert max(height, width) == 60
    assert height / width == pytest.approx(shape[0] / shape[1], rel=0.6)


def test_opacity_goes_from_picture_to_heat():
    picture = explain_examples.pixels(1, 32)[0]
    heat = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    np.testing.assert_array_equal(drawing.overlay(picture, heat, 0.0), picture)
    np.testing.assert_array_equal(drawing.overlay(picture, heat, 1.0), drawing.heat_picture(heat))


def test_heat_colours_get_lighter_with_heat():
    ramp = drawing.heat_picture(np.linspace(0, 1, 11, dtype=np.float32)[None])[0].astype(float)
    light = ramp @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all()


def test_no_title_of_a_sheet_of_few_pictures_is_cut():
    cell = drawing.Cell((explain_examples.pixels(1, 32)[0],))
    title = ["A title", "A long sentence that tells what to look for in this sheet. " * 3]
    sheet = drawing.draw_sheet([drawing.Row(("NV",), (cell,))], side=64, title=title)
    assert sheet.shape[1] > drawing.font(18).getlength(title[1])


def test_long_text_is_cut_to_its_width():
    face = drawing.font(14)
    cut = drawing.shorten("a very long caption " * 9, face, 120)
    assert cut.endswith("…")
    assert face.getlength(cut) <= 120
    assert drawing.shorten("short", face, 120) == "short"


def test_a_picture_is_written_losslessly(tmp_path):
    picture = explain_examples.pixels(1, 32)[0]
    drawing.write_png(tmp_path / "a.png", picture)
    drawing.write_png(tmp_path / "b.png", picture)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), picture)


def _page(examples, **options):
    settings = {"title": "Maps", "facts": ["A fact."], "colours": style.CLASS_COLOURS} | options
    return gallery.render(examples, **settings)


def _cards():
    table = explain_examples.catalogue(48)
    raw = explain_examples.probabilities(table)
    chosen = select_examples(raw, raw, table, per_class=2)
    heat = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    picture = explain_examples.pixels(1, 32)[0]
    heats = {"heat_maximum": 0.5, "melanoma_heat_maximum": 0.5, "grid": "7 x 7"}
    rows = chosen.to_dict("records")
    return [panels.Example(row | heats, picture, heat, heat) for row in rows]


def test_the_gallery_asks_nothing_of_anyone():
    page = _page(_cards(), checks_svg="<svg/>")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src &#x27;none&#x27;" in page


def test_every_example_is_a_card_with_what_filters_need():
    examples = _cards()
    page = _page(examples)
    cards = re.findall(r'<article class="card (\w+)" ([^>]*)>', page)
    assert len(cards) == len(examples)
    for (verdict, attributes), example in zip(cards, examples, strict=True):
        assert verdict == ("right" if example.told["correct"] else "wrong")
        assert f'data-diagnosis="{example.told["diagnosis"]}"' in attributes
        assert f'data-predicted="{example.told["predicted"]}"' in attributes
        assert f'data-choice="{example.told["choice"]}"' in attributes
    assert {example.told["choice"] for example in examples} == set(CHOICES)
    assert page.count("<tr class=") == 8 * len(examples)
    for name in {example.told["diagnosis"] for example in examples}:
        assert f'<option value="{name}">' in page


def test_everything_from_outside_is_escaped():
    evil = '"><script>alert(1)</script>'
    example = _example(image=evil, sex=evil, site=evil, source=evil)
    page = _page([example], title=evil, facts=[evil])
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert '"><' not in re.sub(r"<[^<>]*>", "", page)


def test_one_map_serves_both_when_melanoma_is_predicted():
    same = _page([_example(predicted="MEL")])
    other = _page([_example()])
    assert same.count("data:image/png") == 1
    assert other.count("data:image/png") == 2
    assert "cam-predicted cam-melanoma" in same


def test_without_calibration_there_is_no_mark():
    changes = {f"{name}_calibrated": math.nan for name in isic.CLASSES}
    page = _page([_example(melanoma_probability=math.nan, **changes)])
    assert "nan" not in re.sub(r"data:[^\"]*", "", page)
    assert '<b style="left' not in page


def test_an_empty_gallery_says_why():
    page = _page([], facts=["It sees metadata only."])
    assert "It sees metadata only." in page
    assert "<form" not in page
    assert "no medical device" in page
