"""Write down what the results were made from, with and on."""

from pathlib import Path

from melanoma.files import write_json
from melanoma.logs import job_log
from melanoma.provenance import collect

with job_log(snakemake.log[0]):
    restarts = {str(Path(path).parent): Path(path) for path in snakemake.input.restarts}
    provenance = collect(
        config=snakemake.params.config,
        checkout=Path(snakemake.params.checkout),
        tables=[Path(path) for path in snakemake.input.tables],
        recipes=[Path(path) for path in snakemake.input.recipes],
        restarts=restarts,
        benchmarks=Path(snakemake.params.results) / "benchmarks",
        results=[Path(path) for path in snakemake.input.results],
    )
    write_json(snakemake.output[0], provenance)
