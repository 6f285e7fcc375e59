"""Average all trainings' predictions of the official test set, raw and calibrated."""

from melanoma.evaluation.combine import combine
from melanoma.evaluation.decision_file import read_decision
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_table
from melanoma.logs import job_log
from melanoma.seeds import parse

with job_log(snakemake.log[0]):
    raw, calibrated = combine(
        "official",
        [read_predictions(path) for path in snakemake.input.predictions],
        read_decision(snakemake.input.decision),
        [parse(name) for name in snakemake.params.runs],
    )
    write_table(snakemake.output.raw, raw)
    write_table(snakemake.output.calibrated, calibrated)
