"""What can be seen of a page: pictures, tables, texts that are cut or hard to read."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Frame, Page

_PICTURES = """() => Promise.all([...document.images].map(async (image) => {
  try { await image.decode(); } catch (error) { return image.alt || image.src.slice(0, 60); }
  return image.naturalWidth ? null : image.alt;
})).then((found) => found.filter((one) => one !== null))"""

_TABLES = """() => [...document.querySelectorAll("table")]
  .filter((table) => !table.querySelector("tbody tr td")).length"""

_TOO_WIDE = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""

_CUT = """() => [...document.querySelectorAll(
    "h1, h2, p, li, th, td, label, button, select, summary, figcaption")]
  .filter((one) => one.checkVisibility() && getComputedStyle(one).overflow === "hidden"
    && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.textContent.slice(0, 60))"""

_CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).slice(0, 3).map((value) => value / 255)
      .map((value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.checkVisibility() || ["SCRIPT", "STYLE"].includes(one.tagName)) continue;
    const pair = [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a);
    const ratio = (pair[0] + .05) / (pair[1] + .05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)}: ${one.textContent.trim().slice(0, 40)}`);
  }
  return poor;
}"""


def assert_whole(shown: Page | Frame) -> None:
    """Every picture is there, no table is empty, nothing is cut or wider than the page."""
    assert _ask(shown, _PICTURES) == [], "missing pictures"
    assert _ask(shown, _TABLES) == 0, "empty tables"
    assert _ask(shown, _CUT) == [], "texts that are cut"
    assert _ask(shown, _TOO_WIDE) <= 0, "the page is wider than its window"


def assert_readable(shown: Page | Frame) -> None:
    """Every text has a contrast of at least 4.5 : 1 (WCAG 2.2, 1.4.3)."""
    assert _ask(shown, _CONTRASTS) == []


def _ask(shown: Page | Frame, question: str) -> Any:
    return shown.evaluate(question)
