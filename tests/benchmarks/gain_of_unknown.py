"""What it brings to say UNK, and what it costs where the unknown cannot be told apart.

Validation parts are drawn with detectors of known quality: scores of known images are normal, those
of unknown ones and of the stand-ins the same but d' higher, and images of a lesion are alike. What
is chosen on each part (`melanoma.evaluation.unknown`) is held against never saying UNK, by the
expected mean of nine recalls, which follows from the threshold alone.

    python tests/benchmarks/gain_of_unknown.py [--draws 200] [--images 2000] [--output gains.csv]

Exits with status 1 where the mean loss against never is more than 0.1 points, more than 5 % of the
draws lose more than 0.5 points, or d' = 1.5 or 2 gains nothing on average.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from melanoma.evaluation.unknown import choose_unknown

SEPARATIONS = (0.0, 0.5, 1.0, 1.5, 2.0)
GAINING = (1.5, 2.0)

COUNTS = np.array([4522, 12875, 3323, 867, 2624, 239, 253, 628])
"""Images of each class in ISIC 2019."""

RECALLS = np.array([0.70, 0.85, 0.80, 0.60, 0.65, 0.70, 0.85, 0.55])

ALIKE = 0.5
"""Share of the variance that images of a lesion have in common."""

MEAN_LOSS, WORST_LOSS, WORST_SHARE = 0.1, 0.5, 0.05
"""Points that may be lost on average, and in all but this share of the draws."""


def one_draw(rng: np.random.Generator, images: int, separation: float) -> dict[str, float]:
    """What one validation part chooses: its share, and the points that it brings in truth."""
    lesion = np.sort(rng.integers(0, max(images // 2, 1), images))
    _, lesion = np.unique(lesion, return_inverse=True)
    kind = rng.choice(8, size=lesion.max() + 1, p=COUNTS / COUNTS.sum())
    truth = kind[lesion]

    def alike() -> np.ndarray:
        common = np.sqrt(ALIKE) * rng.normal(size=len(kind))[lesion]
        return common + np.sqrt(1 - ALIKE) * rng.normal(size=images)

    scores = alike()
    masked = np.sqrt(0.5) * scores + np.sqrt(0.5) * alike() + separation
    right = norm.cdf(alike()) < RECALLS[truth]
    choice = choose_unknown(scores, masked, truth, right, lesion)
    if choice.rule.never:
        return {"share": 0.0, "points": 0.0}
    cut = choice.rule.threshold
    gain = (norm.sf(cut - separation) - norm.sf(cut) * RECALLS.sum()) / 9
    return {"share": choice.share, "points": 100 * float(gain)}


def gains(draws: int, images: int, seed: int = 0) -> pd.DataFrame:
    """What the choice brings with detectors of each quality.

    Returns:
        separation (d'), never (share of the draws that never say UNK), share (mean of the known
        images given up), points (mean gain), fifth (the 5th percentile of the gain), within.
    """
    rows = []
    for separation in SEPARATIONS:
        rng = np.random.default_rng((seed, round(10 * separation)))
        found = pd.DataFrame([one_draw(rng, images, separation) for _ in range(draws)])
        points = found["points"]
        row = {
            "separation": separation,
            "never": float((found["share"] == 0).mean()),
            "share": found["share"].mean(),
            "points": points.mean(),
            "fifth": points.quantile(WORST_SHARE),
        }
        gained = points.mean() > 0 or separation not in GAINING
        kept = points.mean() >= -MEAN_LOSS and (points < -WORST_LOSS).mean() <= WORST_SHARE
        rows.append(row | {"within": bool(gained and kept)})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV of the gains")
    options = parser.parse_args(arguments)
    table = gains(options.draws, options.images, options.seed)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    if options.output:
        table.to_csv(options.output, index=False)
    return 0 if table["within"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
