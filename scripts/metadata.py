"""Tell and draw what metadata are worth to one experiment."""

from pathlib import Path

from melanoma.evaluation.figures.metadata import draw_metadata
from melanoma.evaluation.metadata_table import metadata_table
from melanoma.files import write_table
from melanoma.logs import job_log
from melanoma.seeds import parse

with job_log(snakemake.log[0]):
    table = metadata_table(
        [Path(path) for path in snakemake.input.predictions],
        Path(snakemake.input.catalogue),
        snakemake.params.subset,
        runs=[parse(name) for name in snakemake.params.runs],
        resamples=snakemake.params.bootstrap,
    )
    write_table(snakemake.output.table, table)
    draw_metadata(table, Path(snakemake.output.figure))
