"""Write every number of one experiment."""

from pathlib import Path

from melanoma.evaluation.report import evaluate
from melanoma.evaluation.subgroups import read_skin_tones
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    subsets = snakemake.params.subsets
    evaluate(
        dict(zip(subsets, map(Path, snakemake.input.raw), strict=True)),
        dict(zip(subsets, map(Path, snakemake.input.calibrated), strict=True)),
        Path(snakemake.input.decision),
        Path(snakemake.input.catalogue),
        Path(snakemake.params.output),
        resamples=snakemake.params.bootstrap,
        extra_parts=read_skin_tones(Path(snakemake.input.skin_tones)),
    )
