"""The fixed parts of the gallery's page: style, behaviour, frame. No file or address outside it."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1a1c20; --quiet: #54585f;
  --line: #c9cdd4; --right: #006847; --wrong: #b22222; --focus: #0b57d0; --track: #e4e7ec;
  --tile: 150px; --opacity: .5; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14161a; --card: #1f2228; --ink: #eceef1; --quiet: #b3b8c1; --line: #454a54;
    --right: #56c596; --wrong: #ff8a80; --focus: #8ab4f8; --track: #353a43; }
  .bar i { box-shadow: 0 0 0 1px var(--quiet); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, "DejaVu Sans", Arial, sans-serif; }
header, main, footer { max-width: 1720px; margin: 0 auto; padding: 0 20px; }
h1 { font-size: 1.5rem; margin: 18px 0 6px; }
p { margin: 6px 0; max-width: 100ch; }
.quiet, figcaption, footer, caption { color: var(--quiet); }
form { position: sticky; top: 0; z-index: 2; background: var(--paper);
  border-bottom: 1px solid var(--line); padding: 10px 20px; }
.tools { max-width: 1680px; margin: 0 auto; display: flex; flex-wrap: wrap; gap: 10px 18px;
  align-items: end; }
.tools label, .tools fieldset { display: flex; flex-direction: column; font-size: .85rem;
  color: var(--quiet); border: 0; margin: 0; padding: 0; gap: 3px; min-width: 0; }
.tools legend { padding: 0; margin-bottom: 3px; }
.choices { display: flex; gap: 12px; height: 32px; align-items: center; }
.choices label { flex-direction: row; align-items: center; color: var(--ink); gap: 5px; }
select, button { font: inherit; font-size: .9rem; height: 32px; padding: 2px 8px; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
input[type=range] { width: 130px; height: 32px; margin: 0; accent-color: var(--focus); }
input[type=radio] { accent-color: var(--focus); }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
#count { margin: 12px 0; font-weight: 600; }
#cards { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, calc(3 * var(--tile) + 48px)), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px; content-visibility: auto; contain-intrinsic-size: 500px 480px; }
.card[hidden] { display: none; }
h2 { font-size: 1rem; margin: 0 0 8px; }
.verdict { font-weight: 700; }
.right .verdict { color: var(--right); }
.wrong .verdict { color: var(--wrong); }
.pictures { display: flex; gap: 8px; }
figure { margin: 0; flex: 1; min-width: 0; }
figcaption { font-size: .8rem; }
.stack { position: relative; aspect-ratio: 1; overflow: hidden; border-radius: 4px; }
.stack img { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.stack .cam { display: none; }
.overlay .cam { opacity: var(--opacity); }
[data-cam=predicted] .cam-predicted, [data-cam=melanoma] .cam-melanoma { display: block; }
.facts { margin: 10px 0 6px; }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 1px 6px 1px 0; font-weight: 400; }
thead th { color: var(--quiet); }
td.number, th.number { text-align: right; width: 5.5em; padding-right: 0; }
tr.true th[scope=row], tr.predicted th[scope=row] { font-weight: 700; }
.bar { display: block; position: relative; height: 11px; background: var(--track);
  border-radius: 2px; }
.bar i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 2px; }
.bar b { position: absolute; top: -2px; bottom: -2px; width: 3px; margin-left: -1px;
  background: var(--ink); box-shadow: 0 0 0 1px var(--card); }
details { margin: 10px 0; }
summary { cursor: pointer; font-weight: 600; }
details img { width: 100%; max-width: 1300px; background: #fff; border-radius: 8px;
  margin-top: 8px; }
footer { padding: 24px 20px; font-size: .85rem; }
@media (max-width: 900px), (max-height: 700px) { form { position: static; } }
"""

SCRIPT = """
"use strict";
const form = document.querySelector("form");
const list = document.getElementById("cards");
const cards = [...list.children];
const count = document.getElementById("count");
for (const image of document.querySelectorAll("img[data-copy]")) {
  image.src = image.closest(".card").querySelector("." + image.dataset.copy).src;
}
const orders = {
  confident: (a, b) => b.dataset.probability - a.dataset.probability,
  unsure: (a, b) => a.dataset.probability - b.dataset.probability,
  melanoma: (a, b) => b.dataset.melanoma - a.dataset.melanoma,
  given: (a, b) => a.dataset.place - b.dataset.place,
};
function show() {
  const wanted = Object.fromEntries(new FormData(form));
  let shown = 0;
  for (const card of cards) {
    const fits = (!wanted.diagnosis || card.dataset.diagnosis === wanted.diagnosis)
      && (!wanted.predicted || card.dataset.predicted === wanted.predicted)
      && (!wanted.verdict || card.dataset.verdict === wanted.verdict);
    card.hidden = !fits;
    shown += fits;
  }
  list.append(...cards.sort((a, b) => orders[wanted.sort](a, b)
    || a.dataset.place - b.dataset.place));
  count.textContent = shown ? `${shown} of ${cards.length} examples`
    : "No example fits this choice: widen the filters.";
  document.body.dataset.cam = wanted.cam;
  document.body.style.setProperty("--opacity", wanted.opacity / 100);
  document.documentElement.style.setProperty("--tile", wanted.tile + "px");
  document.getElementById("opacity-value").textContent = wanted.opacity + " %";
}
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(show));
show();
"""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "form-action 'none'; base-uri 'none'"
)
"""Content security policy: the page can't ask anything of anyone, whatever is written into it."""

FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body data-cam="predicted">
<header>
<h1>{title}</h1>
{introduction}
</header>
{tools}
<main>
{main}
</main>
<footer>{footer}</footer>
{script}
</body>
</html>
"""

TOOLS = """<form aria-label="Choose and arrange the examples"><div class="tools">
<label>True class <select name="diagnosis">{diagnoses}</select></label>
<label>Predicted class <select name="predicted">{predictions}</select></label>
<label>Verdict <select name="verdict"><option value="">right and wrong</option>
<option value="right">right only</option><option value="wrong">wrong only</option></select></label>
<label>Order <select name="sort"><option value="given">by class, as in index.csv</option>
<option value="confident">most confident first</option>
<option value="unsure">least confident first</option>
<option value="melanoma">highest melanoma probability</option></select></label>
<fieldset><legend>Heat map for</legend><div class="choices">
<label><input type="radio" name="cam" value="predicted" checked>predicted class</label>
<label><input type="radio" name="cam" value="melanoma">melanoma</label></div></fieldset>
<label><span>Opacity of the overlay: <output id="opacity-value">50 %</output></span>
<input type="range" name="opacity" min="0" max="100" step="5" value="50"></label>
<label>Size of the pictures <input type="range" name="tile" min="110" max="340" step="10"
value="150"></label>
<button type="reset">Reset</button>
</div></form>"""
