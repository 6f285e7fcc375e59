"""A drawn archive in the official ISIC 2019 format: for the demo, the tests and the benchmarks.

Nothing in it is a photograph or a patient. The eight diagnoses are drawn with the dermoscopic
structures that textbooks name for them, plainly enough for a small network to learn.
"""

from melanoma.synthetic.archive import write_archive
from melanoma.synthetic.scene import draw_hairs, draw_image

__all__ = ["draw_hairs", "draw_image", "write_archive"]
