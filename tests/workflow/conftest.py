"""What the tests of the workflow call by name."""

from runs import MICRO, ROOT, micro_config, planned, snakemake, write_config

__all__ = ["MICRO", "ROOT", "micro_config", "planned", "snakemake", "write_config"]
