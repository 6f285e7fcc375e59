"""What every result says of itself: that it is no diagnosis, and whose images it is made from."""

from __future__ import annotations

NO_MEDICAL_DEVICE = (
    "Research software, no medical device: nothing here is a diagnosis, and no one's treatment "
    "may be decided by it."
)

DATA_LICENCE = (
    "Images: ISIC 2019, CC BY-NC 4.0, from HAM10000 (Tschandl et al. 2018, "
    "doi:10.1038/sdata.2018.161), BCN20000 (Combalia et al. 2019, arXiv:1908.02288) and the ISBI "
    "2017 challenge (Codella et al. 2017, arXiv:1710.05006)."
)
"""Licence and attribution that the official archive asks for."""

DRAWN_ATTRIBUTION = """\
Drawn by melanoma.synthetic. These images show no patients and no photographs;
they imitate the format of the ISIC 2019 challenge's files and nothing else.
"""
"""What a drawn archive holds in place of the official attribution, by which it is known."""

DRAWN = (
    "The images are drawn lesions, made by melanoma.synthetic: they show no patients, and figures "
    "on them say nothing about skin."
)
