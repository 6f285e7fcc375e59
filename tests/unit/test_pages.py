"""The report's pages: tables that can be read, pages that hold all they need."""

import base64
import re

import numpy as np
import pandas as pd
import pytest

from melanoma.files import write_table
from melanoma.pages import plan
from melanoma.pages.assembly import build, picture, write_pages
from melanoma.pages.document import (
    ROWS_SHOWN,
    Document,
    Download,
    Heading,
    Paragraph,
    Picture,
    Points,
    Table,
    to_html,
    to_markdown,
)
from melanoma.pages.numbers import grid, lacks_intervals, number_text, with_interval
from melanoma.training.history import COLUMNS

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    ("value", "whole", "expected"),
    [
        (0.71234, False, "0.712"),
        (1.0, False, "1.000"),
        (0.0, False, "0.000"),
        (0.00012345, False, "0.000123"),
        (-0.5, False, "-0.500"),
        (267.06, False, "267.1"),
        (419.0, True, "419"),
        (float("nan"), True, ""),
    ],
)
def test_numbers_are_short(value, whole, expected):
    assert number_text(value, whole=whole) == expected


@pytest.mark.parametrize(
    ("value", "ends", "expected"),
    [
        (0.712, (0.684, 0.74), "0.712 (0.684 to 0.740)"),
        (0.125, (0.00914, 0.689), "0.125 (0.009 to 0.689)"),
        (0.0, (0.0, 0.708), "0.000 (0.000 to 0.708)"),
        (0.0012, (0.00034, 0.0031), "0.0012 (0.00034 to 0.0031)"),
        (0.712, (np.nan, np.nan), "0.712"),
    ],
)
def test_a_value_stands_with_its_interval(value, ends, expected):
    assert with_interval(value, *ends) == expected


def test_columns_of_intervals_become_one():
    table = pd.DataFrame(
        {
            "class": ["MEL", "NV"],
            "support": [15, 1],
            "recall": [0.5, np.nan],
            "recall_low": [0.25, np.nan],
            "recall_high": [0.75, np.nan],
            "value": [1.0, 2.5],
            "low": [0.5, np.nan],
            "high": [1.5, np.nan],
            "interval_excludes_zero": [True, np.nan],
        }
    )
    shown = grid(table, {"class": "diagnosis"})
    assert shown.headings == ("diagnosis", "support", "recall", "value", "interval excludes zero")
    texts = [[cell.text for cell in row] for row in shown.rows]
    assert texts == [
        ["MEL", "15", "0.500 (0.250 to 0.750)", "1.000 (0.500 to 1.500)", "yes"],
        ["NV", "1", "", "2.500", ""],
    ]
    assert [row[2].number for row in shown.rows] == [0.5, None]


@pytest.mark.parametrize(
    ("values", "lows", "lacks"),
    [
        ([0.5, 1.0], [0.2, np.nan], True),
        ([0.5, np.nan], [0.2, np.nan], False),
        ([0.5, 1.0], [np.nan, np.nan], False),
        ([0.5, 1.0], [0.2, 0.3], False),
    ],
)
def test_a_figure_without_its_interval_is_noticed(values, lows, lacks):
    table = pd.DataFrame({"recall": values, "recall_low": lows, "recall_high": lows})
    assert lacks_intervals(table) is lacks
    assert not lacks_intervals(table[["recall"]])


def test_bins_are_no_intervals():
    assert grid(pd.DataFrame({"low": [0.0], "high": [0.1]})).headings == ("low", "high")


def _page(*blocks):
    return to_html(Document("A page", blocks))


def test_a_page_asks_nothing_of_anyone():
    page = _page(
        Picture(SVG, "image/svg+xml", "a figure", "a.svg"),
        Table(pd.DataFrame({"a": [1]})),
        Download("a.csv", b"a\n1\n", "text/csv"),
    )
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(addresses) == 2
    assert all(address.startswith("data:") for address in addresses)
    assert "url(" not in page
    assert "default-src &#x27;none&#x27;" in page
    assert base64.b64encode(b"a\n1\n").decode() in page


def test_everything_from_outside_is_escaped():
    evil = '"><script>alert(1)</script>'
    page = to_html(
        Document(
            evil,
            (
                Heading(evil),
                Paragraph(evil),
                Points((evil,)),
                Picture(SVG, "image/svg+xml", evil, evil),
                Table(pd.DataFrame({evil: [evil] * 13}), title=evil, folded=True),
                Table(pd.DataFrame({evil: []}), empty=evil),
                Download(evil, b"", "text/csv"),
            ),
        )
    )
    assert "<script>alert" not in page
    assert page.count("<script>") == 1


def test_a_wide_table_is_moved_by_the_keyboard():
    page = _page(Table(pd.DataFrame({"a": [1]}), title='A "title"'))
    assert (
        '<div class="scroll" tabindex="0" role="region" aria-label="A &quot;title&quot;">' in page
    )


def test_a_table_without_rows_says_so():
    page = _page(Table(pd.DataFrame({"image": []}), "None was left out."))
    assert "None was left out." in page
    assert "<table>" not in page


def test_a_long_table_is_cut_and_says_so():
    page = _page(Table(pd.DataFrame({"n": range(ROWS_SHOWN + 7)})))
    assert page.count("<tr>") == ROWS_SHOWN + 1
    assert "the file has 7 more" in page


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"subset": ["val", "test"] * 8, "n": range(16)}, 1),
        ({"image": [f"I{n}" for n in range(16)]}, 0),
        ({"subset": ["val"] * 16}, 0),
        ({"subset": ["val", "test"]}, 0),
    ],
)
def test_columns_of_a_few_texts_get_a_filter(values, count):
    assert _page(Table(pd.DataFrame(values))).count("<select") == count


def test_markdown_holds_texts_and_tables():
    text = to_markdown(
        Document(
            "Card",
            (
                Heading("Use"),
                Points(("one", "two")),
                Table(pd.DataFrame({"a": ["x|y"], "b": [0.5]})),
                Table(pd.DataFrame({"a": []}), "Nothing."),
                Picture(SVG, "image/svg+xml", "a figure", "a.svg"),
            ),
        )
    )
    assert text == (
        "# Card\n\n## Use\n\n- one\n- two\n\n"
        "| a | b |\n| --- | --- |\n| x\\|y | 0.500 |\n\nNothing.\n"
    )


def test_chapters_sort_in_reading_order():
    names = [plan.category(name) for name in plan.CATEGORIES]
    assert names == sorted(names)
    assert names[0] == "1 Data"


@pytest.mark.parametrize("subsets", [("val",), ("val", "test")])
def test_pages_have_names_of_their_own_and_sort(subsets):
    pages = [*plan.DATA, *plan.SUMMARY, plan.METADATA, *plan.experiment_pages(subsets)]
    pages += plan.explanation_pages(subsets[-1])
    assert len({page.name for page in pages}) == len(pages)
    assert {page.category for page in pages} == set(plan.CATEGORIES)
    for page in pages:
        number, _, title = page.title.partition(" ")
        assert len(number) == 1, "as text, 10 comes before 2"
        assert number.isdigit()
        assert title
    # A label with two values in equal halves makes Snakemake's report show a switch instead.
    labels = {page.subset for page in plan.experiment_pages(subsets)}
    assert labels == ({"val"} if len(subsets) == 1 else {"val", "test", "all"})


@pytest.fixture
def results(tmp_path):
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets/duplicates.png").write_bytes(b"\x89PNG small")
    (tmp_path / "splits_audit.csv").write_text(
        "fold,quantity,value,train,val,test,all\n"
        "0,images,,419,91,90,600\n0,share of sex,female,0.477327,0.483516,,0.466667\n"
    )
    return tmp_path


def _named(name):
    return next(page for page in plan.DATA if page.name == name)


def test_counts_and_shares_of_one_column_keep_their_form(results):
    page = to_html(build(_named("splits"), "Look\nhere.", results))
    assert "<p>Look here.</p>" in page
    assert "<td>419</td>" in page
    assert "<td>0.477</td>" in page
    assert "nan" not in re.sub(r'data:[^"]*', "", page)


def test_without_rows_there_is_no_figure(results):
    page, path = _named("duplicates"), results / "catalogue/train_duplicates.csv"
    path.write_text("image_a,image_b\n")
    assert "<img" not in to_html(build(page, "", results))
    path.write_text("image_a,image_b\nA,B\n")
    assert "<img" in to_html(build(page, "", results))


def test_several_empty_tables_have_one_sentence(results):
    folder = results / "evaluation/fusion"
    folder.mkdir(parents=True)
    for name in ("operating_points", "predictive_values"):
        (folder / f"{name}.csv").write_text("point,groups\n")
    page = next(p for p in plan.experiment_pages(["val"]) if p.name == "operating_points")
    assert to_html(build(page, "", results, "fusion")).count("Validation has too few lesions") == 1


def test_a_confusion_matrix_is_titled_with_its_subset(results):
    folder = results / "evaluation/fusion"
    folder.mkdir(parents=True)
    (folder / "confusion_val.svg").write_bytes(SVG)
    (folder / "confusion_val.csv").write_text("true,MEL\nMEL,1\n")
    page = next(p for p in plan.experiment_pages(["val"]) if p.name == "confusion_val")
    assert build(page, "", results, "fusion").title == "Confusion matrix, validation: fusion"


def test_the_resampled_unit_is_shown_as_lesions(results):
    folder = results / "evaluation/fusion"
    folder.mkdir(parents=True)
    (folder / "subgroups.svg").write_bytes(SVG)
    (folder / "subgroups.csv").write_text("variable,part,groups\nsex,male,12\n")
    page = next(p for p in plan.experiment_pages(["val"]) if p.name == "subgroups")
    text = to_html(build(page, "", results, "fusion"))
    assert ">lesions</button>" in text
    assert ">groups</button>" not in text


def test_epochs_are_told_in_words(results):
    folder = results / "evaluation/fusion"
    folder.mkdir(parents=True)
    (folder / "training_curves.svg").write_bytes(SVG)
    write_table(folder / "training_curves.csv", pd.DataFrame([[1] * len(COLUMNS)], columns=COLUMNS))
    page = next(p for p in plan.experiment_pages(["val"]) if p.name == "training_curves")
    text = to_html(build(page, "", results, "fusion"))
    for heading in ("validation macro F1", "learning rate of the head", "GPU memory (MB)"):
        assert f">{heading}</button>" in text
    assert not re.search(">(val|lr|gpu) ", text)


def test_names_that_look_like_something_else_are_shown_as_they_are(results):
    path = results / "catalogue/train_duplicates.csv"
    path.write_text("image_a,image_b,similarity,lesion_a\n001,NA,0.75,\n002,1e5,,7.0\n")
    page = to_html(build(_named("duplicates"), "", results))
    for name in ("001", "NA", "1e5", "7.0", "0.750"):
        assert f">{name}</td>" in page
    assert "nan" not in re.sub(r'data:[^"]*', "", page)


def test_what_says_nothing_is_left_out(results):
    (results / "evaluation").mkdir()
    (results / "evaluation/comparison.svg").write_bytes(SVG)
    (results / "evaluation/comparison.csv").write_text(
        "experiment,figure,value,low,high,difference\nfusion,macro_f1,0.5,,,\n"
    )
    page = to_html(build(plan.COMPARISON, "", results))
    assert "macro F1" in page
    assert "difference" not in page
    assert ">0.500<" in page


def test_pages_of_an_experiment_are_its_own(results):
    (results / "evaluation/fusion").mkdir(parents=True)
    for name in ("roc", "pr"):
        (results / f"evaluation/fusion/{name}.svg").write_bytes(SVG)
    for name in ("roc", "pr", "bands"):
        (results / f"evaluation/fusion/{name}.csv").write_text("a\n1\n")
    page = next(p for p in plan.experiment_pages(["val"]) if p.name == "curves")
    assert all("fusion" in path for path in page.inputs("fusion"))
    write_pages({results / "out/curves.html": page}, {"curves": "Look."}, results, "fusion")
    text = (results / "out/curves.html").read_text()
    assert "<h1>ROC and precision-recall: fusion</h1>" in text
    assert text.count("data-picture>") == 2
    assert '<a download="roc.csv" href="data:text/csv' in text


def test_the_official_score_is_one_page_with_a_title_for_each_table(results):
    (results / "official").mkdir()
    for name in ("per_class", "confusion", "scores", "unknown"):
        (results / f"official/{name}.svg").write_bytes(SVG)
        (results / f"official/{name}.csv").write_text("images,n\nall,24\n")
    matches = results / "catalogue/official_matches.csv"
    matches.write_text("image_a,image_b\n")
    page = to_html(build(plan.OFFICIAL, "Look.", results))
    assert "<h1>Official score</h1>" in page
    assert re.findall("<h2>(.*?)</h2>", page)[:3] == [
        "Scores",
        "When UNK is said, as chosen on validation",
        "Each class",
    ]
    assert plan.OFFICIAL.empty in page
    matches.write_text("image_a,image_b\nA,B\n")
    assert "a photograph of training (b)" in to_html(build(plan.OFFICIAL, "Look.", results))


def test_a_large_bitmap_becomes_smaller(tmp_path):
    from melanoma.drawing import write_png

    noise = np.random.default_rng(0).integers(0, 256, (420, 420, 3), dtype=np.uint8)
    write_png(tmp_path / "large.png", noise)
    write_png(tmp_path / "small.png", noise[:64])
    large, small = (picture(tmp_path / f"{name}.png", "x") for name in ("large", "small"))
    assert (large.media_type, large.name) == ("image/jpeg", "large.jpg")
    assert len(large.data) < (tmp_path / "large.png").stat().st_size
    assert small.data == (tmp_path / "small.png").read_bytes()


@pytest.mark.parametrize("matched", [True, False])
def test_the_official_page_tells_of_matches_where_they_were_looked_for(matched):
    tables = plan.official_page(matched=matched).tables
    assert ("catalogue/official_matches.csv" in tables) == matched
    assert "official/scores.csv" in tables
