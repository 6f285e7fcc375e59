"""Join the inspected shards of a set."""

import pandas as pd

from melanoma.files import write_table
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    shards = [
        pd.read_csv(path, dtype=str, keep_default_na=False) for path in snakemake.input.shards
    ]
    write_table(snakemake.output[0], pd.concat(shards))
