"""Write the image store from its shards."""

from pathlib import Path

from melanoma.catalogue import read_catalogue
from melanoma.config import Images
from melanoma.logs import job_log
from melanoma.store import pack

with job_log(snakemake.log[0]):
    wildcards = snakemake.wildcards
    images = Images(
        hair_removal=wildcards.hair_removal, framing=wildcards.framing, size=int(wildcards.size)
    )
    pack(
        [Path(shard) for shard in snakemake.input.shards],
        read_catalogue(snakemake.input.catalogue),
        Path(snakemake.output.store),
        recipe={**images.model_dump(exclude={"shards"}), "code": snakemake.params.code},
    )
