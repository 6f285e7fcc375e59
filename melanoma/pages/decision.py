"""What decision.json says, in words: how probabilities are calibrated, what has no threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from melanoma.evaluation.calibration import FEW_LESIONS
from melanoma.evaluation.operating_points import DEFAULT
from melanoma.evaluation.scaling import BOTH, RAW, STRENGTHS, TEMPERATURES

_BOUNDS = {"temperature": TEMPERATURES, "strength": STRENGTHS}


def decision_texts(decision: Mapping[str, Any]) -> list[str]:
    """A decision in sentences.

    Args:
        decision: from `melanoma.evaluation.decision_file.read_decision`.

    Returns:
        How probabilities are calibrated, of which classes nobody has seen whether they hold, which
        operating points there are none of and why, and what is used without metadata.
    """
    texts = [f"Calibrated probabilities are {_calibration(decision)}."]
    if few := decision.get("validation", {}).get("few_lesions"):
        texts.append(
            f"Validation has fewer than {FEW_LESIONS} lesions of {', '.join(few)}: their "
            "probabilities follow the same numbers, and nobody has seen whether they hold."
        )
    texts += _absent(decision["absent_points"])
    other = decision["without_metadata"]
    if other is not None:
        texts.append(f"Of an image without any metadata they are {_calibration(other)}.")
        if other["default"]:
            point = other["operating_points"][other["default"]]
            texts.append(
                f"Its melanoma threshold is {point['threshold']:.3g}: on validation, predicted "
                f"without metadata, it reaches a sensitivity of {point['sensitivity']:.3f} and a "
                f"specificity of {point['specificity']:.3f}."
            )
    return texts


def why_no_default(decision: Mapping[str, Any]) -> str:
    """Why there is no threshold of the default's name; "" where there is one."""
    return "" if decision["default"] else str(decision["absent_points"].get(DEFAULT, ""))


def _absent(reasons: Mapping[str, str]) -> list[str]:
    """Which operating points there are none of: a sentence a reason."""
    return [
        f"No threshold {', '.join(n for n, other in reasons.items() if other == why)}: {why}."
        for why in dict.fromkeys(reasons.values())
    ]


def _calibration(one: Mapping[str, Any]) -> str:
    """How a set of a decision turns raw probabilities into calibrated ones."""
    tried = "a temperature" if one["strength"] is None else "a temperature, with the priors or not,"
    if one["chosen"] == RAW:
        return f"the raw ones: {tried} predicted lesions that it was not fitted on no better"
    text = f"the raw ones at a temperature of {one['temperature']:.3g}"
    if one["chosen"] == BOTH:
        text += (
            f", shifted {one['strength']:.2f} of the way from the priors that the loss implies to "
            "the real ones"
        )
    elif one["strength"] is not None:
        text += (
            "; to shift them to the real priors too predicted lesions that it was not fitted on no "
            "better"
        )
    for name in one["at_bound"]:
        low, high = _BOUNDS[name]
        text += (
            f" (the {name} was stopped by its bounds, {low:g} to {high:g}: the probabilities may "
            "be off)"
        )
    return text
