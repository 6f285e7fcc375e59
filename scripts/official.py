"""Write the submission for the official test set, score it, draw the score and its page."""

from pathlib import Path

import pandas as pd

from melanoma.evaluation.figures import draw_official
from melanoma.evaluation.official import evaluate_official
from melanoma.files import atomic_folder
from melanoma.logs import job_log
from melanoma.pages import plan
from melanoma.pages.assembly import write_pages
from melanoma.seeds import parse

with job_log(snakemake.log[0]):
    # Where none are looked for, the rule's input is an empty list.
    found = [
        pd.read_csv(path, dtype=str, keep_default_na=False) for path in snakemake.input.matches
    ]
    with atomic_folder(snakemake.output[0]) as folder:
        evaluate_official(
            [Path(path) for path in snakemake.input.official],
            [Path(path) for path in snakemake.input.validation],
            Path(snakemake.input.catalogue),
            Path(snakemake.input.training),
            folder,
            ood=snakemake.params.ood,
            matched={image for table in found for image in table["image_a"]},
            resamples=snakemake.params.bootstrap,
            runs=[parse(name) for name in snakemake.params.runs],
        )
        draw_official(folder, folder)
    final = Path(snakemake.output[0])
    page = plan.official_page(matched=bool(snakemake.input.matches))
    write_pages({final / "index.html": page}, snakemake.params.captions, final.parent)
