"""One repair of Snakemake's SLURM executor: a run must outlive an outage of the controller."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

PLUGIN = "snakemake_executor_plugin_slurm"

_log = logging.getLogger(__name__)


def outlive_outages() -> None:
    """Let the executor remember MinJobAge instead of asking for it before each status check.

    Without an answer from the controller it takes MinJobAge for too short and asks `sacct` for
    the rest of that check, whatever `slurm-status-command` says. Where accounting is off, that
    fails until the attempts are used up; then it forgets its jobs and Snakemake waits for ever
    (seen with 2.8.0). Does nothing unless this process runs with the SLURM executor.
    """
    plugin = sys.modules.get(PLUGIN)
    ask = getattr(plugin, "get_min_job_age", None)
    if plugin is not None and ask is not None and not isinstance(ask, _Remembered):
        plugin.__dict__["get_min_job_age"] = _Remembered(ask)


class _Remembered:
    """Calls a function until it has an answer, and gives that one from then on."""

    def __init__(self, ask: Callable[[], int | None]) -> None:
        self.ask = ask
        self.answer: int | None = None

    def __call__(self) -> int | None:
        if self.answer is None:
            self.answer = self.ask()
            _log.debug("MinJobAge is %s", self.answer)
        return self.answer
