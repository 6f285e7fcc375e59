"""How published tables call what is told of a patient and a lesion, and what they write there.

Columns and values are those of the ISIC challenges of 2017 to 2024, of the ISIC archive's exports,
of HAM10000, MILK10k and PAD-UFES-20. They are read in any case, with spaces, hyphens or
underscores.
"""

from __future__ import annotations

import re

from melanoma.isic import SEXES, SITES

IMAGE_COLUMNS = ("image", "image_name", "image_id", "isic_id", "img_id")
"""Names of the column that names the image; of several the first that isn't empty is used."""

LESION_COLUMNS = ("lesion_id",)

AGE_COLUMNS = ("age_approx", "age", "age_approximate")
SEX_COLUMNS = ("sex", "gender")
SITE_COLUMNS = (
    "anatom_site_general",
    "anatom_site_general_challenge",
    "site",
    "localization",
    "region",
)
"""Columns of one meaning each; the first that is filled counts, the others must not contradict."""

SITE_DETAILS = ("anatom_site_special", *(f"anatom_site_{level}" for level in (5, 4, 3, 2, 1)))
"""Columns of the ISIC archive's newer exports, from the finest; the first that tells one of the
eight sites counts where `SITE_COLUMNS` tell none."""

AGES = (0.0, 120.0)
"""Ages in years that are believed; ISIC gives 0 to 85 in steps of five."""

AGE_STEP = 5.0
"""Years by which an exact age and ISIC's rounded one may differ."""

_MISSING = frozenset(
    {"", "nan", "na", "n/a", "null", "none", "unknown", "<na>", "#n/a", "-", "--", "?", "."}
)
"""Ways of writing that a value is missing."""

_SEXES = {**{sex: sex for sex in SEXES}, "f": "female", "m": "male"}

_SITE_WORDS = {
    "anterior torso": ("abdomen", "chest", "anterior trunk"),
    "head/neck": ("face", "ear", "neck", "scalp", "nose", "head neck face"),
    "lateral torso": ("lateral trunk",),
    "lower extremity": ("foot", "thigh"),
    "oral/genital": ("genital", "genital region", "anogenital region"),
    "palms/soles": ("acral", "acral palms soles", "palm", "sole"),
    "posterior torso": ("back", "posterior trunk"),
    "upper extremity": ("hand", "arm", "forearm"),
}
"""Other words for the eight sites.

Those of HAM10000 go where ISIC 2019 itself has put them (its 10,015 images of HAM10000 have 2192
posterior torso, as many as HAM10000's back; 2396 lower extremity, its lower extremity and foot;
1208 upper extremity, upper extremity and hand; 1429 anterior torso, abdomen and chest; 7
palms/soles, acral; 1097 head/neck, face, neck, scalp and ear). Its 48 genital are left empty
there, though the name of the site is plain.
"""

VAGUE_SITES = frozenset({"torso", "trunk", "lip"})
"""Places that are no single one of the eight: ISIC 2020's torso, HAM10000's trunk (which ISIC 2019
left empty) may be its front, its back or its side; a lip may be skin or mucosa."""


def _plain(text: str) -> str:
    """A place's name in small letters, its words separated by single spaces."""
    words = re.split(r"[\s_/&,-]+", text.casefold().strip())
    return " ".join(word for word in words if word not in ("and", "or"))


_SITES = {_plain(site): site for site in SITES} | {
    _plain(word): site for site, words in _SITE_WORDS.items() for word in words
}


def is_missing(text: str) -> bool:
    """Whether a text is a way of writing that nothing is known."""
    return text.strip().casefold() in _MISSING


def number_of(text: str) -> float | None:
    """A number written with a decimal point or a decimal comma.

    "1,000" may be one or a thousand: it is no number here, as little as inf and nan are.
    """
    plain = text.strip()
    if re.fullmatch(r"[+-]?(\d+,\d{1,2}|\d+,\d{4,}|0+,\d+)", plain, re.ASCII):
        plain = plain.replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", plain, re.ASCII | re.IGNORECASE):
        return None
    value = float(plain)
    return value if abs(value) < float("inf") else None


def age_of(text: str) -> float | None:
    """An age in years, None where the text is none that can be."""
    age = number_of(text)
    return age if age is not None and AGES[0] <= age <= AGES[1] else None


def sex_of(text: str) -> str | None:
    """One of `isic.SEXES`, None where the text is none."""
    return _SEXES.get(text.strip().casefold())


def site_of(text: str) -> str | None:
    """One of `isic.SITES`, None where the text is none."""
    return _SITES.get(_plain(text))


def is_vague_site(text: str) -> bool:
    """Whether a text is a place that is no single one of the eight sites."""
    return _plain(text) in VAGUE_SITES
