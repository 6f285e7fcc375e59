"""Columns of a table of predictions beside image, the classes and energy."""

from __future__ import annotations

from melanoma.isic import CLASSES

KNOWN_FIELDS = "known_fields"
"""How many metadata fields the model sees of an image: 0 where it has nothing but the image."""

WITHOUT_METADATA = tuple(f"{name}_without_metadata" for name in CLASSES)
"""What the model says of an image where all metadata are missing: softmax, a column a class."""
