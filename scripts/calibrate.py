"""Fit one fold's decision on its validation part."""

from melanoma.catalogue import read_catalogue
from melanoma.config import Experiment
from melanoma.evaluation.calibration import decide
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_json
from melanoma.logs import job_log
from melanoma.seeds import parse
from melanoma.splits import read_splits

with job_log(snakemake.log[0]):
    decision = decide(
        read_predictions(snakemake.input.predictions),
        read_catalogue(snakemake.input.catalogue),
        read_splits(snakemake.input.splits),
        [parse(snakemake.wildcards.fold).fold],
        Experiment.from_settings(snakemake.params.settings),
        tta=snakemake.params.tta,
    )
    write_json(snakemake.output[0], decision)
