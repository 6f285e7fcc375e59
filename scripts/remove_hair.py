"""Decode one shard of an archive and remove hair."""

from pathlib import Path

from melanoma.catalogue import read_catalogue
from melanoma.config import Images
from melanoma.logs import job_log
from melanoma.shards import remove_hair_shard

with job_log(snakemake.log[0]):
    wildcards = snakemake.wildcards
    remove_hair_shard(
        Path(snakemake.input.archive),
        read_catalogue(snakemake.input.catalogue),
        Path(snakemake.output[0]),
        images=Images(hair_removal=wildcards.hair_removal, size=int(wildcards.size)),
        shard=int(wildcards.shard),
        shards=int(wildcards.shards),
    )
