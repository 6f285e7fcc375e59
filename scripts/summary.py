"""Write the headline figures, the comparison, the model card and the provenance to read."""

from pathlib import Path

from melanoma.config import Experiment
from melanoma.logs import job_log
from melanoma.pages.summary import Sources, write_summary

with job_log(snakemake.log[0]):
    paths, params = snakemake.input, snakemake.params
    write_summary(
        [
            Experiment.from_settings(settings, execution)
            for settings, execution in zip(params.settings, params.execution, strict=True)
        ],
        Sources(
            metrics=[Path(path) for path in paths.metrics],
            decisions=[Path(path) for path in paths.decisions],
            histories=[Path(path) for path in paths.histories],
            per_class=Path(paths.per_class),
            subgroups=Path(paths.subgroups),
            audit=Path(paths.audit),
            provenance=Path(paths.provenance),
            ground_truth=Path(paths.ground_truth),
            archive=Path(paths.archive),
            checks=next((Path(folder, "checks.csv") for folder in paths.maps), None),
        ),
        results=Path(params.results),
        pages=[Path(path) for path in snakemake.output.pages],
        opening=Path(snakemake.output.opening),
        card=Path(snakemake.output.card),
        models=list(params.models),
        captions=dict(params.captions),
    )
