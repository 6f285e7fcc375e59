"""Draw the sheets that show what was trained on."""

from pathlib import Path

import pandas as pd

from melanoma import sheets
from melanoma.catalogue import read_catalogue
from melanoma.config import Images
from melanoma.logs import job_log
from melanoma.splits import read_splits
from melanoma.store import Store

with job_log(snakemake.log[0]):
    paths, written = snakemake.input, snakemake.output
    catalogue = read_catalogue(paths.catalogue)
    splits = read_splits(paths.splits)
    store = Store.open(Path(paths.store))
    store.verify()
    trained = splits["image"][(splits["fold"] == 0) & (splits["split"] == "train")]
    sheets.class_examples(store, catalogue, Path(written.classes), chosen=list(trained))
    images = Images(**snakemake.params.images)
    sheets.hair_before_after(Path(paths.archive), catalogue, images, Path(written.hair))
    names = {"image_a": "str", "image_b": "str"}
    pairs = pd.read_csv(paths.duplicates, dtype=names, keep_default_na=False)
    sheets.duplicate_pairs(store, pairs, Path(written.duplicates))
