"""Draw the figures of one experiment."""

from pathlib import Path

from melanoma.evaluation.figures import draw
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    folder = Path(snakemake.params.folder)
    draw(folder, folder, snakemake.params.subsets)
