"""The fixed parts of the gallery's page: style, tools, behaviour. No file or address outside it."""

from __future__ import annotations

STYLE = """
:root { --tile: 150px; --opacity: .5; }
@media (prefers-color-scheme: dark) { .bar i { box-shadow: 0 0 0 1px var(--quiet); } }
form { position: sticky; top: 0; z-index: 2; background: var(--paper);
  border-bottom: 1px solid var(--line); padding: 10px 20px; }
.tools { max-width: 1680px; margin: 0 auto; display: flex; flex-wrap: wrap; gap: 10px 18px;
  align-items: end; }
.tools label, .tools fieldset { display: flex; flex-direction: column; font-size: .85rem;
  color: var(--quiet); border: 0; margin: 0; padding: 0; gap: 3px; min-width: 0; }
.tools legend { padding: 0; margin-bottom: 3px; }
.choices { display: flex; gap: 12px; height: 32px; align-items: center; }
.choices label { flex-direction: row; align-items: center; color: var(--ink); gap: 5px; }
input[type=range] { width: 130px; height: 32px; margin: 0; accent-color: var(--focus); }
input[type=radio] { accent-color: var(--focus); }
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
.stack .empty { position: absolute; inset: auto 0 0; padding: 2px 4px; font-size: .8rem;
  color: #fff; background: #1a1c20; }
.overlay .cam { opacity: var(--opacity); }
[data-cam=predicted] .cam-predicted, [data-cam=melanoma] .cam-melanoma { display: block; }
.facts { margin: 10px 0 6px; }
table { width: 100%; }
th, td { padding: 1px 6px 1px 0; }
td.number, th.number { text-align: right; width: 5.5em; padding-right: 0; }
tr.true th[scope=row], tr.predicted th[scope=row] { font-weight: 700; }
.bar { display: block; position: relative; height: 11px; background: var(--track);
  border-radius: 2px; }
.bar i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 2px; }
.bar b { position: absolute; top: -2px; bottom: -2px; width: 3px; margin-left: -1px;
  background: var(--ink); box-shadow: 0 0 0 1px var(--card); }
details img { width: 100%; max-width: 1300px; background: #fff; border-radius: 8px;
  margin-top: 8px; }
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
      && (!wanted.choice || card.dataset.choice === wanted.choice)
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

TOOLS = """<form aria-label="Choose and arrange the examples"><div class="tools">
<label>True class <select name="diagnosis">{diagnoses}</select></label>
<label>Predicted class <select name="predicted">{predictions}</select></label>
<label>Verdict <select name="verdict"><option value="">right and wrong</option>
<option value="right">right only</option><option value="wrong">wrong only</option></select></label>
<label>Choice <select name="choice"><option value="">confident and random</option>
<option value="most confident">most confident only</option>
<option value="random">random only</option></select></label>
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
