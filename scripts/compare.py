"""Compare experiments on the same images."""

from pathlib import Path

from melanoma.evaluation.compare import compare
from melanoma.files import write_table
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    paths = map(Path, snakemake.input.predictions)
    table = compare(
        dict(zip(snakemake.params.experiments, paths, strict=True)),
        Path(snakemake.input.catalogue),
        snakemake.params.subset,
        resamples=snakemake.params.bootstrap,
    )
    write_table(snakemake.output[0], table)
