"""The report in a browser, gone through as a reader does: every chapter, item, button."""

import csv
import io
from pathlib import Path

import pytest
from looks import assert_readable, assert_whole

from melanoma.pages import plan

pytestmark = pytest.mark.browser

CHAPTERS = [plan.category(name) for name in plan.CATEGORIES]
ITEMS = {
    "1 Data": [page.title for page in plan.DATA],
    "2 Training": ["1 training curves"],
    "4 Explanation": ["1 gallery", "2 contact sheet", "3 checks of the maps", plan.METADATA.title],
    "5 Provenance": [plan.MODEL_CARD.title, plan.PROVENANCE.title],
}


@pytest.fixture
def opened(page, report):
    page.goto(report.as_uri())
    page.get_by_text("Workflow", exact=True).wait_for()
    return page


def menu(page):
    """Entries of the menu, from the top down."""
    return page.locator("nav li a")


def open_chapter(page, name):
    menu(page).filter(has_text=name).click()
    page.locator("nav tbody tr").first.wait_for()
    return page.locator("nav tbody tr")


def shown_frame(page):
    """The page in the report's frame, once it is there."""
    frame = page.locator("iframe").element_handle().content_frame()
    frame.wait_for_load_state()
    frame.locator("h1").wait_for()
    return frame


def test_it_opens_with_the_headline_figures(opened):
    text = opened.locator("#app").inner_text()
    assert "trained on" in text
    assert "No lesion is in two parts" in text
    assert "balanced accuracy" in text
    assert "no medical device" in text
    cells = opened.locator(".document table td").all_inner_texts()
    numbers = [cell for cell in cells if cell[:1].isdigit()]
    assert numbers
    assert any("(0." in cell and " to " in cell for cell in numbers), "intervals"


def test_chapters_stand_in_reading_order(opened):
    names = menu(opened).all_inner_texts()
    assert names[-len(CHAPTERS) :] == CHAPTERS


def test_the_first_page_leads_to_every_chapter(opened):
    for name in CHAPTERS:
        opened.reload()
        opened.get_by_role("link", name=name).last.click()
        opened.locator("nav tbody tr").first.wait_for()


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_item_of_a_chapter_is_whole(opened, name):
    rows = open_chapter(opened, name)
    titles = [rows.nth(row).locator("td").first.inner_text() for row in range(rows.count())]
    assert titles == sorted(titles)
    assert set(titles) >= set(ITEMS.get(name, []))
    for row in range(rows.count()):
        rows.nth(row).locator("a").first.click()
        frame = shown_frame(opened)
        assert_whole(frame)
        assert_readable(frame)
        for details in frame.locator("details").all():
            details.locator("summary").click()
        assert_whole(frame)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_item_tells_what_to_look_for(opened, name):
    count = open_chapter(opened, name).count()
    for row in range(count):
        opened.locator("nav tbody tr").nth(row).locator("a").last.click()
        described = opened.locator("nav .prose")
        assert len(described.inner_text()) > 40
        opened.get_by_text(name, exact=True).first.click()
        opened.locator("nav tbody tr").nth(count - 1).wait_for()


def test_the_general_pages_work(opened):
    for name, what in (("Workflow", "#rulegraph svg, #rulegraph canvas"), ("Statistics", "canvas")):
        menu(opened).filter(has_text=name).click()
        opened.locator(what).first.wait_for()
    menu(opened).filter(has_text="About").click()
    opened.get_by_text("react", exact=False).first.wait_for()


def test_an_item_is_found_by_its_file_name(opened):
    opened.locator("nav input").fill("reliability")
    opened.keyboard.press("Enter")
    opened.get_by_text("6 calibration").first.wait_for()


def open_item(page, chapter, title):
    row = open_chapter(page, chapter).filter(has_text=title).first
    row.locator("a").first.click()
    return shown_frame(page)


def rows_of(frame):
    return [row for row in frame.locator("tbody tr").all() if row.is_visible()]


def test_tables_are_sorted_by_a_click(opened):
    frame = open_item(opened, "3 Evaluation", "4 figures of each class")
    head = frame.locator("th", has_text="support")
    place = frame.locator("th").all_inner_texts().index("support")
    supports = []
    for _ in range(2):
        head.locator("button").click()
        supports.append([int(r.locator("td").nth(place).inner_text()) for r in rows_of(frame)])
    assert supports[0] == sorted(supports[0])
    assert supports[1] == supports[0][::-1]
    assert head.get_attribute("aria-sort") == "descending"


def test_tables_are_filtered(opened):
    frame = open_item(opened, "3 Evaluation", "4 figures of each class")
    whole = len(rows_of(frame))
    frame.get_by_label("subset").select_option("test")
    frame.get_by_label("class").select_option("MEL")
    assert len(rows_of(frame)) == 1
    assert frame.locator("output").inner_text() == f"1 of {whole} rows"
    frame.get_by_label("subset").select_option("")
    assert len(rows_of(frame)) == 2


def test_a_picture_is_shown_in_its_full_size_by_a_click(page, finished_run):
    page.set_viewport_size({"width": 700, "height": 800})
    page.goto((finished_run / "results/pages/classes.html").as_uri())
    picture = page.locator("img.figure")
    natural = picture.evaluate("one => one.naturalWidth")
    assert picture.bounding_box()["width"] < 700
    picture.click()
    assert picture.bounding_box()["width"] == natural > 700
    assert_whole(page)
    picture.click()
    assert picture.bounding_box()["width"] < 700


@pytest.mark.parametrize("name", ["per_class.csv", "per_class.svg"])
def test_numbers_and_figures_can_be_saved(opened, finished_run, name):
    frame = open_item(opened, "3 Evaluation", "4 figures of each class")
    with opened.expect_download() as waiting:
        frame.get_by_role("link", name=name).click()
    assert waiting.value.suggested_filename == name
    saved = Path(waiting.value.path()).read_bytes()
    assert saved == (finished_run / "results/evaluation/fusion" / name).read_bytes()
    if name.endswith(".csv"):
        assert next(csv.reader(io.StringIO(saved.decode())))[:2] == ["subset", "class"]


def test_the_gallery_works_inside_the_report(opened):
    frame = open_item(opened, "4 Explanation", "1 gallery")
    chosen = frame.locator("article").first.get_attribute("data-diagnosis")
    frame.locator("select[name=diagnosis]").select_option(chosen)
    cards = frame.locator("article").all()
    shown = [card.get_attribute("data-diagnosis") for card in cards if card.is_visible()]
    assert set(shown) == {chosen}
    assert len(shown) < len(cards)


def test_pages_are_readable_in_the_dark(browser, finished_run):
    context = browser.new_context(color_scheme="dark", viewport={"width": 1200, "height": 800})
    page = context.new_page()
    for path in sorted((finished_run / "results/pages").rglob("*.html")):
        page.goto(path.as_uri())
        assert_whole(page)
        assert_readable(page)
    context.close()


@pytest.mark.parametrize("width", [390, 1366, 2560])
def test_pages_fit_every_window(page, finished_run, width):
    page.set_viewport_size({"width": width, "height": 800})
    for path in sorted((finished_run / "results/pages").rglob("*.html")):
        page.goto(path.as_uri())
        assert_whole(page)
