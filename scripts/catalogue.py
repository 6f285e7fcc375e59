"""Join tables, archive and inspection into the catalogue of one set."""

from melanoma.catalogue import write_catalogue
from melanoma.cataloguing import build_catalogue
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    paths = snakemake.input
    catalogue = build_catalogue(
        paths.ground_truth,
        # Without a table the rule's input is an empty list.
        paths.metadata or None,
        paths.archive,
        [paths.inspected],
        kind=snakemake.wildcards.set,
        sources=snakemake.params.sources,
        near_duplicates=snakemake.params.near_duplicates,
    )
    write_catalogue(
        catalogue,
        table=snakemake.output.catalogue,
        audit=snakemake.output.audit,
        quarantine=snakemake.output.quarantine,
        duplicates=snakemake.output.duplicates,
    )
