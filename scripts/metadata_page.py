"""Write the report's page on what metadata are worth to one experiment."""

from pathlib import Path

from melanoma.logs import job_log
from melanoma.pages import plan
from melanoma.pages.assembly import write_pages

with job_log(snakemake.log[0]):
    pages = {Path(snakemake.output[0]): plan.METADATA}
    experiment = snakemake.wildcards.experiment
    write_pages(pages, snakemake.params.captions, Path(snakemake.params.results), experiment)
