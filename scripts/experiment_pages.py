"""Write the report's pages on one experiment."""

from pathlib import Path

from melanoma.logs import job_log
from melanoma.pages import plan
from melanoma.pages.assembly import write_pages

with job_log(snakemake.log[0]):
    paths = map(Path, snakemake.output)
    pages = dict(zip(paths, plan.experiment_pages(snakemake.params.subsets), strict=True))
    experiment = snakemake.wildcards.experiment
    write_pages(pages, snakemake.params.captions, Path(snakemake.params.results), experiment)
