"""Share lesions out over training, validation and test, or take a user's splits; audit them."""

from melanoma.catalogue import read_catalogue
from melanoma.files import write_table
from melanoma.logs import job_log
from melanoma.own_splits import user_splits
from melanoma.split_audit import audit_splits
from melanoma.splits import assign_splits, check_splits

with job_log(snakemake.log[0]):
    catalogue = read_catalogue(snakemake.input.catalogue)
    settings = dict(snakemake.params.settings)
    own = snakemake.input.get("own")
    if own:
        splits = user_splits(
            own,
            catalogue,
            folds=settings["folds"],
            test_fraction=settings["test_fraction"],
        )
    else:
        splits = assign_splits(catalogue, **settings)
        check_splits(splits, catalogue)
    write_table(
        snakemake.output.audit,
        audit_splits(splits, catalogue, seed=settings["seed"]),
    )
    write_table(snakemake.output.splits, splits)
