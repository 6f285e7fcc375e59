"""A headless Chromium, and pages in it that tell of every error, request and missing picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from runs import snakemake

from melanoma import isic, style
from melanoma.explain import gallery, selection
from melanoma.explain.panels import Example

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; without one the tests skip, but never in continuous integration.

    It ends with the module: as long as it runs, no other event loop can.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = f"no Chromium here ({', '.join(NAMES)}): apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without a network; the test fails if it errs or asks anything of anyone."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_offline(True)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(f"uncaught: {error}"))
    opened.on("requestfailed", lambda request: wrong.append(f"failed: {request.url[:200]}"))
    opened.on(
        "console",
        lambda message: (
            wrong.append(f"console: {message.text}") if message.type == "error" else None
        ),
    )
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("file:", "data:", "blob:"))
            else wrong.append(f"asks: {request.url[:200]}")
        ),
    )
    yield opened
    context.close()
    assert not wrong


@pytest.fixture(scope="session")
def report(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a finished run, alone in a folder, as saved from a mail."""
    path = tmp_path_factory.mktemp("mail") / "report.html"
    snakemake(finished_run, "--report", str(path))
    return path


def told(place: int, diagnosis: str, predicted: str) -> dict[str, object]:
    """What is told of a made-up example."""
    random = np.random.default_rng(place)
    raw, calibrated = random.dirichlet(np.ones(8), 2)
    classes = list(isic.CLASSES)
    return {
        "image": f"ISIC_{place:07d}",
        "diagnosis": diagnosis,
        "predicted": predicted,
        "correct": diagnosis == predicted,
        "probability": float(raw[classes.index(predicted)]),
        "melanoma_probability": float(calibrated[0]),
        "age": float("nan") if place % 5 == 0 else 20.0 + place,
        "sex": ("", *isic.SEXES)[place % 3],
        "site": ("", *isic.SITES)[place % 9],
        "source": "HAM",
        "choice": selection.CHOICES[place % 2],
        "rank": 1 + place,
        "heat_maximum": 0.5,
        "melanoma_heat_maximum": 0.1,
        "grid": "7 x 7",
        **dict(zip(classes, raw, strict=True)),
        **{f"{name}_calibrated": value for name, value in zip(classes, calibrated, strict=True)},
    }


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Each class answered rightly once and taken for its two neighbours."""
    found = []
    for true in range(8):
        for step in (0, 1, 2):
            random = np.random.default_rng(len(found))
            heat = random.random((2, 64, 64), dtype=np.float32)
            pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            names = isic.CLASSES[true], isic.CLASSES[(true + step) % 8]
            found.append(Example(told(len(found), *names), pixels, heat[0], heat[1]))
    return found


@pytest.fixture(scope="session")
def gallery_page(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of made-up examples."""
    path = tmp_path_factory.mktemp("gallery") / "index.html"
    figure = '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="300"/>'
    page = gallery.render(
        examples, title="Maps", facts=["A fact."], colours=style.CLASS_COLOURS, checks_svg=figure
    )
    path.write_text(page)
    return path
