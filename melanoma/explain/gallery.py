"""The browsable gallery: one HTML file with everything in it, opened by a double click."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma import drawing, isic
from melanoma.drawing import Pixels
from melanoma.explain import page
from melanoma.explain.panels import Example, class_name, melanoma_text, metadata_text, plain_text
from melanoma.explain.selection import CALIBRATED
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.pages.frame import frame

PICTURE_SIDE = 256
"""Largest side of an inlined picture, pixels: enough for the largest size on the page."""

HEAT_SIDE = 64
"""Side of an inlined heat map, pixels; a map has 6 to 14 cells a side, the browser smooths it."""

_JPEG_QUALITY = 88


def render(
    examples: Sequence[Example],
    *,
    title: str,
    facts: Sequence[str],
    colours: Mapping[str, str],
    checks_svg: str | None = None,
) -> str:
    """The gallery as one self-contained page.

    Args:
        examples: with a known diagnosis, in the order of index.csv; may be empty.
        title: of the page.
        facts: sentences below the title: what is shown, of which model, or why there is nothing.
        colours: CSS colour of each class.
        checks_svg: the figure of the checks as SVG text, or None where there is none.

    Returns:
        HTML. All pictures are data URIs; all texts are escaped; a content security policy forbids
        any request.
    """
    cards = [_card(place, example, colours) for place, example in enumerate(examples)]
    body = [_checks(checks_svg)] if checks_svg else []
    if cards:
        body.append('<p id="count" role="status" aria-live="polite"></p>')
        body.append("<noscript><p>Filters and overlays need JavaScript.</p></noscript>")
        body.append(f'<div id="cards">{"".join(cards)}</div>')
    return frame(
        title,
        "\n".join(body),
        introduction="\n".join(f"<p>{escape(fact)}</p>" for fact in facts),
        tools=_tools(examples) if cards else "",
        footer=NO_MEDICAL_DEVICE,
        style=page.STYLE,
        script=page.SCRIPT if cards else "",
        attributes=' data-cam="predicted"',
    )


def _tools(examples: Sequence[Example]) -> str:
    return page.TOOLS.format(
        diagnoses=_options([example.told["diagnosis"] for example in examples]),
        predictions=_options([example.told["predicted"] for example in examples]),
    )


def _options(names: Sequence[str]) -> str:
    options = ['<option value="">all classes</option>']
    for name in isic.CLASSES:
        if name in names:
            text = f"{class_name(name)}: {names.count(name)}"
            options.append(f'<option value="{escape(name)}">{escape(text)}</option>')
    return "".join(options)


def _checks(svg: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return (
        "<details><summary>Do the heat maps mean something?</summary>"
        f'<img src="data:image/svg+xml;base64,{data}" alt="Three checks: how the maps change when '
        "the weights are made random, where the heat lies, and how the probability falls when the "
        'hottest places are blurred first. The figures are in checks.csv."></details>'
    )


def _card(place: int, example: Example, colours: Mapping[str, str]) -> str:
    told = example.told
    verdict = "right" if told["correct"] else "wrong"
    melanoma = told["melanoma_probability"]
    data = {
        "place": place,
        "diagnosis": told["diagnosis"],
        "predicted": told["predicted"],
        "verdict": verdict,
        "choice": told["choice"],
        "probability": f"{told['probability']:.6f}",
        "melanoma": "0" if math.isnan(melanoma) else f"{melanoma:.6f}",
    }
    attributes = " ".join(f'data-{key}="{escape(str(value))}"' for key, value in data.items())
    heading = class_name(told["diagnosis"])
    if not told["correct"]:
        heading += f", taken for {class_name(told['predicted'])}"
    facts = " · ".join([metadata_text(told), told["source"] or "source unknown", told["image"]])
    chosen = f"{told['choice']}, number {told['rank']} by confidence · heat at most {_maxima(told)}"
    return (
        f'<article class="card {verdict}" {attributes}>'
        f'<h2><span class="verdict">{verdict.capitalize()}:</span> {escape(heading)}</h2>'
        f"{_pictures(example)}"
        f'<p class="facts">Probability of {escape(told["predicted"])} '
        f"{told['probability']:.3f} (raw) · {melanoma_text(told)}"
        f'<br><span class="quiet">{escape(facts)}<br>{escape(chosen)}</span></p>'
        f"{_bars(told, colours)}</article>"
    )


def _maxima(told: Mapping[str, Any]) -> str:
    """Greatest values of the maps, which the colours leave out above the common scale."""
    maxima = {
        told["predicted"]: told["heat_maximum"],
        isic.MELANOMA: told["melanoma_heat_maximum"],
    }
    return ", ".join(f"{value:.2g} for {name}" for name, value in maxima.items())


def _pictures(example: Example) -> str:
    told = example.told
    name = escape(told["image"])
    predicted = str(told["predicted"])
    maps = _heat_image("predicted", example.heat, f"heat map for {predicted}, {name}")
    maps += _plain_note("predicted", example.heat, predicted)
    copies = '<img class="cam cam-predicted" data-copy="heat-predicted" alt="">'
    if predicted == isic.MELANOMA:
        maps = maps.replace("cam cam-predicted", "cam cam-predicted cam-melanoma")
        copies = copies.replace("cam cam-predicted", "cam cam-predicted cam-melanoma")
    else:
        maps += _heat_image("melanoma", example.melanoma_heat, f"heat map for melanoma, {name}")
        maps += _plain_note("melanoma", example.melanoma_heat, isic.MELANOMA)
        copies += '<img class="cam cam-melanoma" data-copy="heat-melanoma" alt="">'
    original = f'<img class="original" src="{_jpeg(example.pixels)}" alt="lesion of {name}">'
    base = f'<img data-copy="original" alt="overlay of lesion and heat map, {name}">'
    return (
        '<div class="pictures">'
        f'<figure><div class="stack">{original}</div><figcaption>original</figcaption></figure>'
        f'<figure><div class="stack">{maps}</div><figcaption>heat map</figcaption></figure>'
        f'<figure><div class="stack overlay">{base}{copies}</div>'
        "<figcaption>overlay</figcaption></figure></div>"
    )


def _heat_image(kind: str, heat: NDArray[np.float32], alt: str) -> str:
    small = cv2.resize(heat, (HEAT_SIDE, HEAT_SIDE), interpolation=cv2.INTER_AREA)
    data = _data_uri("png", drawing.heat_picture(np.clip(small, 0, 1)))
    return f'<img class="cam cam-{kind} heat-{kind}" src="{data}" alt="{alt}">'


def _plain_note(kind: str, heat: NDArray[np.float32], name: str) -> str:
    """What a dark map means, upon it."""
    words = " ".join(plain_text(heat, name))
    return f'<span class="cam cam-{kind} empty">{escape(words)}</span>' if words else ""


def _jpeg(pixels: Pixels) -> str:
    side = min(PICTURE_SIDE, max(pixels.shape[:2]))
    return _data_uri("jpeg", drawing.fit(pixels, side, side))


def _data_uri(kind: str, rgb: Pixels) -> str:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if kind == "jpeg" else []
    _, data = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def _bars(told: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    rows = [_bar(name, told, colours[name]) for name in isic.CLASSES]
    return (
        '<table><thead><tr><th scope="col">class</th><th scope="col">bar: raw, line: calibrated'
        '</th><th scope="col" class="number">raw</th>'
        '<th scope="col" class="number">calibrated</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bar(name: str, told: Mapping[str, Any], colour: str) -> str:
    raw = float(told[name])
    calibrated = float(told[CALIBRATED.format(name)])
    marks = [
        word
        for word, key in (("true", "diagnosis"), ("predicted", "predicted"))
        if told[key] == name
    ]
    line = "" if math.isnan(calibrated) else f'<b style="left:{100 * calibrated:.1f}%"></b>'
    second = "none" if math.isnan(calibrated) else f"{calibrated:.3f}"
    title = escape(isic.DIAGNOSIS_NAMES[name])
    note = f' <span class="quiet">{" and ".join(marks)}</span>' if marks else ""
    return (
        f'<tr class="{" ".join(marks)}"><th scope="row" title="{title}">{name}{note}</th>'
        f'<td><span class="bar"><i style="width:{100 * raw:.1f}%;background:{escape(colour)}"></i>'
        f'{line}</span></td><td class="number">{raw:.3f}</td><td class="number">{second}</td></tr>'
    )
