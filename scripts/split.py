"""Share lesions out over training, validation and test, and audit the result."""

from melanoma.catalogue import read_catalogue
from melanoma.files import write_table
from melanoma.logs import job_log
from melanoma.split_audit import audit_splits
from melanoma.splits import assign_splits, check_splits

with job_log(snakemake.log[0]):
    catalogue = read_catalogue(snakemake.input.catalogue)
    splits = assign_splits(catalogue, **snakemake.params.settings)
    check_splits(splits, catalogue)
    write_table(
        snakemake.output.audit,
        audit_splits(splits, catalogue, seed=snakemake.params.settings["seed"]),
    )
    write_table(snakemake.output.splits, splits)
