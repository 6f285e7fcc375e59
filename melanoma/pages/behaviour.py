"""Style and behaviour of a page's figures and tables."""

from __future__ import annotations

STYLE = """
main { padding-bottom: 8px; }
h2 { font-size: 1.15rem; margin: 22px 0 6px; }
ul { margin: 6px 0; padding-left: 22px; max-width: 100ch; }
.picture { overflow-x: auto; margin: 12px 0; }
.figure { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 8px;
  cursor: zoom-in; }
.figure.natural { max-width: none; cursor: zoom-out; }
:root { --shadow: rgb(0 0 0 / .35); }
@media (prefers-color-scheme: dark) { :root { --shadow: rgb(255 255 255 / .4); } }
/* A shadow at each edge beyond which there is more: the covers move with the table, it doesn't. */
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; width: fit-content;
  max-width: 100%; background: linear-gradient(to right, var(--card) 50%, transparent) local,
  linear-gradient(to left, var(--card) 50%, transparent) right local,
  linear-gradient(to right, var(--shadow), transparent),
  linear-gradient(to left, var(--shadow), transparent) right, var(--card);
  background-repeat: no-repeat; background-size: 44px 100%, 44px 100%, 16px 100%, 16px 100%; }
.table { margin: 12px 0; }
th, td { padding: 4px 14px 4px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
td { max-width: 60ch; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: var(--paper); }
.number, th.number button { text-align: right; white-space: nowrap; }
th button { border: 0; padding: 0; height: auto; width: 100%; text-align: left; background: none;
  font-size: 1em; font-weight: 600; cursor: pointer; color: var(--ink); white-space: nowrap; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.filters { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin: 8px 0;
  font-size: .85rem; color: var(--quiet); }
.downloads a { color: var(--focus); }
.none { font-weight: 600; }
"""

SCRIPT = r"""
"use strict";
const pictures = document.querySelectorAll("img.figure");
document.querySelectorAll("a[data-picture]").forEach((link, place) => {
  link.href = pictures[place].src;
});
for (const picture of pictures) {
  picture.addEventListener("click", () => picture.classList.toggle("natural"));
}
for (const block of document.querySelectorAll(".table")) {
  const body = block.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...block.querySelectorAll("th")];
  const filters = [...block.querySelectorAll("select")];
  const count = block.querySelector("output");
  const show = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = filters.some((one) => one.value
        && row.cells[one.dataset.column].textContent !== one.value);
      shown += !row.hidden;
    }
    if (count) count.textContent = `${shown} of ${rows.length} rows`;
  };
  const value = (row, column) => {
    const cell = row.cells[column];
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent;
  };
  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === "" || b === "") return a === "" ? 1 : -1;
    return typeof a === "number" && typeof b === "number" ? a - b
      : String(a).localeCompare(String(b), "en", {numeric: true});
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sorted = [...rows].sort((a, b) => {
      const order = compare(value(a, column), value(b, column));
      const empty = value(a, column) === "" || value(b, column) === "";
      return down && !empty ? -order : order;
    });
    body.append(...sorted);
  }));
  for (const one of filters) one.addEventListener("input", show);
  show();
}
"""
