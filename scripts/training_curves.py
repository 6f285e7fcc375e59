"""Draw the training curves of one experiment."""

from pathlib import Path

from melanoma.evaluation.figures import draw_training
from melanoma.logs import job_log
from melanoma.seeds import parse

with job_log(snakemake.log[0]):
    runs = [parse(name) for name in snakemake.params.runs]
    histories = dict(zip(runs, map(Path, snakemake.input), strict=True))
    draw_training(histories, Path(snakemake.params.folder))
