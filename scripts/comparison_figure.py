"""Draw the comparison of experiments."""

from pathlib import Path

from melanoma.evaluation.figures import draw_comparison
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    draw_comparison(Path(snakemake.input[0]), Path(snakemake.output[0]))
