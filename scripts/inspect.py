"""Inspect one shard of an archive."""

from pathlib import Path

from melanoma.files import write_table
from melanoma.inspection import inspect_shard
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    table = inspect_shard(
        Path(snakemake.input.archive),
        int(snakemake.wildcards.shard),
        int(snakemake.wildcards.shards),
    )
    write_table(snakemake.output[0], table)
