"""Find images of the official test set that are also in training."""

from melanoma.catalogue import read_catalogue
from melanoma.duplicates import find_duplicates
from melanoma.files import write_table
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    paths = snakemake.input
    pairs = find_duplicates(
        read_catalogue(paths.test),
        paths.test_archive,
        read_catalogue(paths.train),
        paths.train_archive,
    )
    write_table(snakemake.output[0], pairs)
