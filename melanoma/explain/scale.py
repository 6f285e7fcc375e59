"""One scale of colours for maps that stand beside each other: a map of nothing looks like nothing.

Each map scaled to its own maximum would show noise as bright as evidence. One range of values for
all would show many maps nearly black, for maxima differ tenfold within a gallery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from melanoma.explain.cam import Heat, Maps

FULL = 0.5
"""Share of the gallery's median maximum from which on a map has all colours: the median itself
would dim half of the maps. Chosen here."""

FAINT = 0.2
"""Share of the common scale below which a map is said to show hardly any heat: a tenth of the
gallery's median. Chosen here."""

OF_A_GALLERY = (
    "each map is scaled to its own maximum, and dimmed where that is below half of the gallery's "
    "median"
)
OF_A_PAIR = "both maps have one scale: that of the stronger one"
"""What a reader must know of the colours, for captions."""


def of_gallery(maxima: NDArray[np.float32]) -> float:
    """The common scale of a gallery: `FULL` of the median of the maps that have heat; 0 without.

    Args:
        maxima: float32[n], from `cam.compute_maps`.
    """
    known = maxima[maxima > 0]
    return FULL * float(np.median(known)) if len(known) else 0.0


def dimmed(maps: Maps, scale: float | NDArray[np.float32]) -> Heat:
    """Maps as they are shown: those whose maximum is below the common scale dimmed in proportion.

    Args:
        maps: each scaled to its own maximum.
        scale: of all of them, or of each; in the units of their maxima.

    Returns:
        float32[n, s, s] in 0..1, with min(1, maximum / scale) at its hottest place.
    """
    scales = np.broadcast_to(np.asarray(scale, np.float32), maps.maxima.shape)
    shares = maps.maxima / np.where(scales > 0, scales, 1)
    return maps.heat * np.minimum(shares, 1).astype(np.float32)[:, None, None]
