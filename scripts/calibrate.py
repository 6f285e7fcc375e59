"""Fit one fold's decision on its validation part."""

from melanoma.catalogue import read_catalogue
from melanoma.evaluation.calibration import fit_decision, training_counts
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_json
from melanoma.logs import job_log
from melanoma.splits import read_splits

with job_log(snakemake.log[0]):
    catalogue = read_catalogue(snakemake.input.catalogue)
    predictions = read_predictions(snakemake.input.predictions)
    trained, natural = training_counts(
        catalogue,
        read_splits(snakemake.input.splits),
        int(snakemake.wildcards.fold),
        snakemake.params.exclude_sources,
    )
    decision = fit_decision(
        predictions,
        list(catalogue.set_index("image")["diagnosis"].loc[predictions["image"]]),
        trained,
        snakemake.params.loss,
        natural_counts=natural,
        tta=snakemake.params.tta,
    )
    write_json(snakemake.output[0], decision)
