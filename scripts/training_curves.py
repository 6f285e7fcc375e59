"""Draw the training curves of one experiment."""

from pathlib import Path

from melanoma.evaluation.figures import draw_training
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    draw_training([Path(path) for path in snakemake.input], Path(snakemake.params.folder))
