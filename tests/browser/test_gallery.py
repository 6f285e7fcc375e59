"""The gallery of heat maps in a browser: every filter, order, choice and slider."""

import pandas as pd
import pytest
from looks import assert_readable, assert_whole

pytestmark = pytest.mark.browser


@pytest.fixture
def index(examples):
    return pd.DataFrame([example.told for example in examples])


@pytest.fixture
def gallery(page, gallery_page):
    page.goto(gallery_page.as_uri())
    page.locator("article").first.wait_for()
    return page


def shown(gallery):
    return [card for card in gallery.locator("article").all() if card.is_visible()]


def told(gallery, what):
    return [card.get_attribute(f"data-{what}") for card in shown(gallery)]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_everything_is_there_and_readable(gallery, index, colours):
    gallery.emulate_media(color_scheme=colours)
    assert len(shown(gallery)) == len(index)
    assert_whole(gallery)
    assert_readable(gallery)
    gallery.locator("summary").click()
    assert_whole(gallery)


def choose(gallery, name, value):
    gallery.locator(f"select[name={name}]").select_option(value)


@pytest.mark.parametrize("column", ["diagnosis", "predicted"])
def test_every_class_can_be_chosen(gallery, index, column):
    options = gallery.locator(f"select[name={column}] option")
    values = [option.get_attribute("value") for option in options.all()]
    assert set(values) == {"", *index[column]}
    for value in values[1:]:
        choose(gallery, column, value)
        wanted = int((index[column] == value).sum())
        assert told(gallery, column) == [value] * wanted
        assert gallery.locator("#count").inner_text() == f"{wanted} of {len(index)} examples"


@pytest.mark.parametrize(("verdict", "correct"), [("right", True), ("wrong", False)])
def test_right_and_wrong_can_be_chosen(gallery, index, verdict, correct):
    choose(gallery, "verdict", verdict)
    assert told(gallery, "verdict") == [verdict] * int((index["correct"] == correct).sum())


@pytest.mark.parametrize("choice", ["most confident", "random"])
def test_confident_and_random_examples_can_be_chosen(gallery, index, choice):
    choose(gallery, "choice", choice)
    assert told(gallery, "choice") == [choice] * int((index["choice"] == choice).sum())


def test_a_choice_without_examples_says_so(gallery, index):
    found = set(zip(index["diagnosis"], index["predicted"], strict=True))
    diagnosis, predicted = next(
        (true, given)
        for true in index["diagnosis"].unique()
        for given in index["predicted"].unique()
        if (true, given) not in found
    )
    choose(gallery, "diagnosis", diagnosis)
    choose(gallery, "predicted", predicted)
    assert gallery.locator("#count").inner_text().startswith("No example fits")
    assert shown(gallery) == []


@pytest.mark.parametrize(
    ("order", "column", "falling"),
    [
        ("confident", "probability", True),
        ("unsure", "probability", False),
        ("melanoma", "melanoma", True),
        ("given", "place", False),
    ],
)
def test_examples_are_put_in_order(gallery, order, column, falling):
    choose(gallery, "sort", order)
    values = [float(value) for value in told(gallery, column)]
    assert values == sorted(values, reverse=falling)


def test_the_opacity_follows_its_slider(gallery):
    slider = gallery.locator("input[name=opacity]")
    heat = gallery.locator(".overlay .cam-predicted").first
    for value in ("0", "35", "100"):
        slider.fill(value)
        assert float(heat.evaluate("one => getComputedStyle(one).opacity")) == int(value) / 100
        assert gallery.locator("#opacity-value").inner_text() == f"{value} %"


def test_the_pictures_follow_their_slider(gallery):
    picture = gallery.locator(".stack").first
    widths = []
    for value in ("110", "340"):
        gallery.locator("input[name=tile]").fill(value)
        widths.append(picture.bounding_box()["width"])
        assert_whole(gallery)
    assert widths[0] < widths[1]


def test_the_heat_map_is_that_of_the_chosen_class(gallery, index):
    other = index.index[index["predicted"] != "MEL"][0]
    card = gallery.locator("article").nth(other)
    predicted, melanoma = card.locator(".heat-predicted"), card.locator(".heat-melanoma")
    assert predicted.is_visible()
    assert not melanoma.is_visible()
    gallery.locator("input[name=cam][value=melanoma]").check()
    assert melanoma.is_visible()
    assert not predicted.is_visible()
    overlaid = card.locator(".overlay .cam-melanoma")
    assert overlaid.is_visible()
    assert overlaid.get_attribute("src") == melanoma.get_attribute("src")


def test_reset_brings_everything_back(gallery, index):
    choose(gallery, "verdict", "right")
    gallery.locator("input[name=opacity]").fill("0")
    gallery.get_by_role("button", name="Reset").click()
    gallery.wait_for_function("document.getElementById('opacity-value').textContent === '50 %'")
    assert len(shown(gallery)) == len(index)


@pytest.mark.parametrize("width", [390, 800, 1366, 2560])
def test_it_fits_every_window(gallery, width):
    gallery.set_viewport_size({"width": width, "height": 800})
    assert_whole(gallery)
