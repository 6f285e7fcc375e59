"""Write every number of one experiment."""

from pathlib import Path

import pandas as pd

from melanoma.evaluation.report import evaluate
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    subsets = snakemake.params.subsets
    tones = pd.read_csv(snakemake.input.skin_tones)[["image", "skin_tone"]]
    evaluate(
        dict(zip(subsets, map(Path, snakemake.input.raw), strict=True)),
        dict(zip(subsets, map(Path, snakemake.input.calibrated), strict=True)),
        Path(snakemake.input.catalogue),
        Path(snakemake.params.output),
        resamples=snakemake.params.bootstrap,
        extra_parts=tones.rename(columns={"skin_tone": "skin tone"}),
    )
