"""Compare experiments on the same images, each seed's models by themselves."""

from pathlib import Path

from melanoma.evaluation.combine import join_seeds
from melanoma.evaluation.compare import compare
from melanoma.evaluation.tables import read_predictions
from melanoma.files import write_table
from melanoma.logs import job_log
from melanoma.seeds import parse

with job_log(snakemake.log[0]):
    paths, params = map(Path, snakemake.input.predictions), snakemake.params
    models, singles = iter(snakemake.input.models), {}
    for experiment, names in params.runs.items():
        tables = [read_predictions(next(models)) for _ in names]
        singles[experiment] = join_seeds(params.subset, tables, [parse(name) for name in names])
    table = compare(
        dict(zip(params.experiments, paths, strict=True)),
        Path(snakemake.input.catalogue),
        params.subset,
        resamples=params.bootstrap,
        singles=singles,
    )
    write_table(snakemake.output[0], table)
