"""Write the report's pages on the heat maps."""

from pathlib import Path

from melanoma.logs import job_log
from melanoma.pages import plan
from melanoma.pages.assembly import write_pages

with job_log(snakemake.log[0]):
    paths = map(Path, snakemake.output)
    pages = dict(zip(paths, plan.explanation_pages(snakemake.params.subset), strict=True))
    write_pages(pages, snakemake.params.captions, Path(snakemake.params.results))
