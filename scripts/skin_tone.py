"""Estimate the skin tone that each picture shows at its border."""

from melanoma.files import write_table
from melanoma.logs import job_log
from melanoma.skin_tone import skin_tones
from melanoma.store import Store

with job_log(snakemake.log[0]):
    store = Store.open(snakemake.input.store)
    store.verify()
    write_table(snakemake.output[0], skin_tones(store.images, store.pixels))
