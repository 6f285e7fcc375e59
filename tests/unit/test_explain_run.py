import html

import explain_examples
import numpy as np
import pandas as pd
import pytest

from melanoma import config
from melanoma.explain import checks, run, scale
from melanoma.explain.selection import COLUMNS
from melanoma.pages import heat_maps
from melanoma.training.checkpoints import load_model


def _explain(folder, *, count=16, **inputs):
    table = explain_examples.catalogue(count)
    model = load_model(explain_examples.checkpoint(folder / "model.ckpt", **inputs))
    raw = explain_examples.probabilities(table)
    return run.explain(
        model,
        explain_examples.store(table),
        table,
        raw,
        raw,
        settings=config.GradCam(per_class=1, method="layercam"),
        output=folder / "gradcam",
        subset="val",
        folds=3,
    )


def test_the_folder_holds_everything_and_replaces_the_old_one(tmp_path):
    old = tmp_path / "gradcam" / "old.png"
    old.parent.mkdir()
    old.write_bytes(b"")
    table = _explain(tmp_path)
    names = {path.name for path in (tmp_path / "gradcam").iterdir()}
    others = {"index.csv", "index.html", "sheet.png", "checks.csv", "checks.svg"}
    assert names == others | set(table["file"])
    assert len(table) >= 8
    assert {path.name for path in tmp_path.iterdir()} == {"gradcam", "model.ckpt"}
    index = pd.read_csv(tmp_path / "gradcam" / "index.csv")
    assert tuple(index.columns) == run.INDEX_COLUMNS
    assert run.INDEX_COLUMNS[: len(COLUMNS)] == COLUMNS
    assert (index["grid"] == "8 x 8").all()
    assert (index[["heat_maximum", "melanoma_heat_maximum"]] >= 0).all(axis=None)
    same = index["predicted"] == "MEL"
    np.testing.assert_allclose(
        index.loc[same, "heat_maximum"], index.loc[same, "melanoma_heat_maximum"], rtol=1e-5
    )
    np.testing.assert_allclose(index["probability"], table["probability"])
    page = (tmp_path / "gradcam" / "index.html").read_text()
    assert "mean of 3 models, maps are those of fold 0" in page
    assert "8 x 8 cells" in page
    assert scale.OF_A_GALLERY in html.unescape(page)
    assert page.count('<article class="card') == len(table)


def test_a_model_without_image_says_so(tmp_path):
    table = _explain(tmp_path, image=False)
    assert table.empty
    page = (tmp_path / "gradcam" / "index.html").read_text()
    assert "sees metadata only" in page
    assert (tmp_path / "gradcam" / "sheet.png").stat().st_size > 0
    assert pd.read_csv(tmp_path / "gradcam" / "index.csv").empty


def test_an_image_model_needs_no_metadata(tmp_path):
    table = _explain(tmp_path, count=4, metadata=False)
    assert len(table)
    assert "with metadata" not in (tmp_path / "gradcam" / "index.html").read_text()


def test_nothing_to_explain(tmp_path):
    assert _explain(tmp_path, count=0).empty
    assert "0 val images" in (tmp_path / "gradcam" / "index.html").read_text()


@pytest.mark.parametrize(
    ("alike", "word"), [(0.2, "maps depend"), (0.7, "hardly depend"), (float("nan"), "all are")]
)
def test_maps_that_ignore_the_weights_are_warned_of(caplog, alike, word):
    caplog.set_level("INFO")
    table = pd.DataFrame(
        [(checks.RANDOMISED, "head", 0.9), (checks.RANDOMISED, "stem", alike), ("other", "x", 1.0)],
        columns=["check", "item", "value"],
    )
    run._tell_of(checks.alike(table))
    assert word in caplog.text


@pytest.mark.parametrize("better", [True, False])
def test_maps_no_better_than_chance_are_told_everywhere(tmp_path, monkeypatch, caplog, better):
    def checked(*given, **options):
        row = ("deletion", "mean", 0.5, 0.6, 12, 0.1, 0.02 if better else -0.02, 0.3)
        return pd.DataFrame([row], columns=list(checks.COLUMNS))

    titles = []
    draw = run.panels.draw_contact_sheet

    def keep(examples, *, title):
        titles.extend(title)
        return draw(examples, title=title)

    monkeypatch.setattr(checks, "run_checks", checked)
    monkeypatch.setattr(run, "draw_checks", lambda *_, **__: _svg(tmp_path))
    monkeypatch.setattr(run.panels, "draw_contact_sheet", keep)
    _explain(tmp_path)
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    page = (tmp_path / "gradcam" / "index.html").read_text()
    said = [heat_maps.NO_BETTER in text for text in (page, " ".join(titles), " ".join(warned))]
    assert said == [not better] * 3
    assert ("sooner than blurring random ones does" in page) is True


def _svg(folder):
    path = next(folder.glob(".gradcam*")) / "checks.svg"
    path.write_text("<svg/>")
