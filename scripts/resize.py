"""Frame one shard's pictures as squares of the final size."""

from pathlib import Path

from melanoma.config import Images
from melanoma.logs import job_log
from melanoma.shards import resize_shard

with job_log(snakemake.log[0]):
    wildcards = snakemake.wildcards
    resize_shard(
        Path(snakemake.input.frames),
        Path(snakemake.output[0]),
        images=Images(framing=wildcards.framing, size=int(wildcards.size)),
    )
