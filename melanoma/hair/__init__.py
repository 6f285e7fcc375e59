"""Removal of hairs from dermoscopic images: RGB uint8 in, RGB uint8 out, at any size.

`remove_hair` is the method `lines`; `dullrazor` is the usual recipe, kept for comparison.
"""

from melanoma.hair.dullrazor import dullrazor
from melanoma.hair.removal import hair_mask, remove_hair

__all__ = ["dullrazor", "hair_mask", "remove_hair"]
