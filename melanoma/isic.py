"""The ISIC 2019 challenge: its classes, columns, categories and official addresses.

Source: https://challenge.isic-archive.com/data/#2019 and the official CSV files.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
"""The eight known diagnoses, in the order of the official ground truth columns."""

UNKNOWN = "UNK"
"""The ninth class: present in the official test set only."""

MELANOMA = "MEL"

DIAGNOSIS_NAMES = {
    "MEL": "melanoma",
    "NV": "melanocytic nevus",
    "BCC": "basal cell carcinoma",
    "AK": "actinic keratosis",
    "BKL": "benign keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
    "SCC": "squamous cell carcinoma",
    "UNK": "none of the others",
}

METADATA_FIELDS = ("age", "sex", "site")
"""What is told of a patient and a lesion, by the names that this package gives it."""

SEXES = ("female", "male")

SITES = (
    "anterior torso",
    "head/neck",
    "lateral torso",
    "lower extremity",
    "oral/genital",
    "palms/soles",
    "posterior torso",
    "upper extremity",
)

SOURCES = ("BCN", "HAM", "MSK")
"""Contributing collections, as the prefix of lesion_id (BCN20000, HAM10000, MSKCC)."""

NO_SOURCE = "none"
"""Source of an image without a lesion_id."""

GROUND_TRUTH_COLUMNS = ("image", *CLASSES, UNKNOWN)
WEIGHT_COLUMNS = ("score_weight", "validation_weight")
"""Extra columns of the official test ground truth."""

METADATA_COLUMNS = ("image", "age_approx", "anatom_site_general", "lesion_id", "sex")
TEST_METADATA_COLUMNS = ("image", "age_approx", "anatom_site_general", "sex")

BASE_URL = "https://isic-archive.s3.amazonaws.com/challenges/2019/"


@dataclass(frozen=True)
class OfficialFile:
    """An official file: its address and what is published or measured of it.

    Attributes:
        url: https address.
        size: bytes, or None where not known.
        sha256: lower-case hex digest, or None where none is known.
    """

    url: str
    size: int | None = None
    sha256: str | None = None


OFFICIAL_FILES = {
    ("train", "images"): OfficialFile(BASE_URL + "ISIC_2019_Training_Input.zip"),
    ("train", "ground_truth"): OfficialFile(
        BASE_URL + "ISIC_2019_Training_GroundTruth.csv",
        1_291_479,
        "aa88e9638fe4df9ef330dc4ba22fa4bd475c44af692fffb870c73091ab25cdcd",
    ),
    ("train", "metadata"): OfficialFile(
        BASE_URL + "ISIC_2019_Training_Metadata.csv",
        1_214_351,
        "d93994a8ed201d474de9a7af7e17ec30929cbc4a5220659ecbde17cbe83e9316",
    ),
    ("test", "images"): OfficialFile(BASE_URL + "ISIC_2019_Test_Input.zip"),
    ("test", "ground_truth"): OfficialFile(BASE_URL + "ISIC_2019_Test_GroundTruth.csv"),
    ("test", "metadata"): OfficialFile(BASE_URL + "ISIC_2019_Test_Metadata.csv"),
}


def source_of(lesion_id: str | None) -> str:
    """Contributing collection of a lesion, by the prefix of its id.

    Args:
        lesion_id: e.g. "BCN_0000123", or None or "" where missing.

    Returns:
        One of `SOURCES`, `NO_SOURCE` where the id is missing, "other" for any other prefix.
    """
    if not lesion_id:
        return NO_SOURCE
    prefix = lesion_id[:3]
    return prefix if prefix in SOURCES else "other"
