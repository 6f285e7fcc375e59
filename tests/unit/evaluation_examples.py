"""Simulated catalogues and predictions for the tests of scoring and evaluation."""

import numpy as np
import pandas as pd

from melanoma.isic import CLASSES

SHARES = np.array([0.2, 0.35, 0.15, 0.06, 0.1, 0.05, 0.05, 0.04])


def softmax(logits):
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def catalogue(lesions=120, seed=0):
    """Lesions of one to five images each, with gaps in the metadata."""
    rng = np.random.default_rng(seed)
    lesion = np.repeat(np.arange(lesions), np.minimum(rng.geometric(0.6, lesions), 5))
    count = len(lesion)
    kinds = np.r_[np.arange(8), rng.choice(8, size=lesions - 8, p=SHARES)][lesion]
    sources = np.array(["BCN", "HAM", "none"])[rng.integers(0, 3, lesions)[lesion]]
    return pd.DataFrame(
        {
            "image": [f"ISIC_{n:07d}" for n in range(count)],
            "lesion_id": [
                "" if source == "none" else f"{source}_{n:07d}"
                for source, n in zip(sources, lesion, strict=True)
            ],
            "group": [f"g{n:05d}" for n in lesion],
            "diagnosis": np.array(CLASSES)[kinds],
            "age": np.where(rng.random(count) < 0.1, np.nan, rng.integers(4, 17, count) * 5.0),
            "sex": np.array(["female", "male", ""])[rng.integers(0, 3, count)],
            "site": np.array(["head/neck", ""])[rng.integers(0, 2, count)],
            "source": sources,
            "member": [f"x/ISIC_{n:07d}.jpg" for n in range(count)],
            "width": 600,
            "height": 450,
            "bytes": 1000,
            "crc": "00000000",
            "fingerprint": "ab",
            "surround": 0.0,
        }
    )


def predictions(table, seed=0, signal=2.0, temperature=1.0):
    """Softmax rows that lean to the diagnosis, images of a lesion alike."""
    rng = np.random.default_rng(seed)
    _, lesion = np.unique(table["group"], return_inverse=True)
    logits = rng.normal(size=(lesion.max() + 1, 8))[lesion] + rng.normal(size=(len(table), 8)) / 2
    numbers = {name: index for index, name in enumerate(CLASSES)}
    known = table["diagnosis"].isin(CLASSES).to_numpy()
    truth = table["diagnosis"].map(numbers).fillna(0).to_numpy(int)
    logits[np.flatnonzero(known), truth[known]] += signal
    result = pd.DataFrame(softmax(temperature * logits), columns=list(CLASSES))
    result.insert(0, "image", table["image"].to_numpy())
    result["energy"] = -np.log(np.exp(temperature * logits).sum(axis=1))
    return result


def parts(table, seed=0):
    """Images of a validation and a test part, by lesion."""
    rng = np.random.default_rng(seed)
    names, lesion = np.unique(table["group"], return_inverse=True)
    chosen = rng.random(len(names))[lesion] < 0.5
    return {"val": table[chosen], "test": table[~chosen]}
