"""Join all trainings' predictions, fit their common decision, and calibrate by it."""

from melanoma.catalogue import read_catalogue
from melanoma.config import Experiment
from melanoma.evaluation.combine import combine, decide_together
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_json, write_table
from melanoma.logs import job_log
from melanoma.seeds import parse
from melanoma.splits import read_splits

with job_log(snakemake.log[0]):
    subsets, output = snakemake.params.subsets, snakemake.output
    runs = [parse(name) for name in snakemake.params.runs]
    tables = {
        subset: [read_predictions(path) for path in snakemake.input[subset]] for subset in subsets
    }
    decision = decide_together(
        tables["val"],
        read_catalogue(snakemake.input.catalogue),
        read_splits(snakemake.input.splits),
        Experiment.from_settings(snakemake.params.settings),
        models=snakemake.input.models,
        target=output.decision,
        tta=snakemake.params.tta,
        runs=runs,
    )
    write_json(output.decision, decision)
    for subset, raw_path, calibrated_path in zip(
        subsets, output.raw, output.calibrated, strict=True
    ):
        raw, calibrated = combine(subset, tables[subset], decision, runs)
        write_table(raw_path, raw)
        write_table(calibrated_path, calibrated)
