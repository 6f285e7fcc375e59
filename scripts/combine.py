"""Join the folds' predictions of one subset, raw and calibrated."""

from melanoma.evaluation.combine import combine
from melanoma.evaluation.decision_file import read_decision
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_table
from melanoma.logs import job_log

with job_log(snakemake.log[0]):
    raw, calibrated = combine(
        snakemake.wildcards.subset,
        [read_predictions(path) for path in snakemake.input.predictions],
        [read_decision(path) for path in snakemake.input.decisions],
    )
    write_table(snakemake.output.raw, raw)
    write_table(snakemake.output.calibrated, calibrated)
