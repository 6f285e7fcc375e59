"""Fetch the pretrained weights of a backbone."""

from pathlib import Path

from melanoma.logs import job_log
from melanoma.weights import fetch_weights

with job_log(snakemake.log[0]):
    fetch_weights(snakemake.params.source, Path(snakemake.output[0]))
