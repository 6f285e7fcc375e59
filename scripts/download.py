"""Fetch or link one official file."""

from pathlib import Path

from melanoma.download import fetch_official
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    fetch_official(
        snakemake.wildcards.set,
        Path(snakemake.wildcards.file).stem,
        snakemake.params.source,
        Path(snakemake.output[0]),
    )
