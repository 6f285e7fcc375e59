"""What SLURM says of the jobs of the test cluster, kept for longer than SLURM keeps it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

FINISHED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "DEADLINE")


@dataclass
class Job:
    """What SLURM said of a job while it could be seen.

    Attributes:
        id: "12", or "12_3" for the third task of an array.
        fields: the last record of `scontrol show job`, name to value.
        states: every JobState seen, in order, repetitions left out.
        nodes: every node list that it ran on, in order, repetitions left out.
        gres: what it was allocated, e.g. "gpu:4"; SLURM says so only while it runs.
    """

    id: str
    fields: dict[str, str]
    states: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    gres: str = ""

    @property
    def state(self) -> str:
        return self.fields["JobState"]

    @property
    def rule(self) -> str:
        """Snakemake's rule, from the job's comment."""
        comment = self.fields.get("Comment", "")
        return comment.removeprefix("rule_").split("_wildcards_")[0]

    @property
    def restarts(self) -> int:
        return int(self.fields["Restarts"])

    @property
    def gpus(self) -> int:
        """GPUs on all nodes together, as allocated when it ran."""
        found = re.search(r"gpu(?::\w+)?:(\d+)", self.gres)
        return int(found.group(1)) if found else 0

    @property
    def is_array_task(self) -> bool:
        return "_" in self.id


class Recorder(threading.Thread):
    """Keeps the records of all jobs, also of those that SLURM has since forgotten.

    Args:
        query: gives the output of `scontrol show job -o -d`, or "" where there is none.
        interval: seconds between two queries.
    """

    def __init__(self, query: Callable[[], str], interval: float = 0.5) -> None:
        super().__init__(daemon=True)
        self.query = query
        self.interval = interval
        self.jobs: dict[str, Job] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(self.interval):
            self.poll()

    def poll(self) -> None:
        for line in self.query().splitlines():
            # Values may hold spaces; names are one word and start with a capital.
            found = re.findall(r"([A-Z][\w/:]*)=(.*?)(?= [A-Z][\w/:]*=|$)", line)
            fields = {name: value.strip() for name, value in found}
            if "JobId" in fields:
                self._note(fields)

    def _note(self, fields: dict[str, str]) -> None:
        name = fields["JobId"]
        if "ArrayJobId" in fields:
            if not fields["ArrayTaskId"].isdigit():
                return  # the tasks that still wait share one record
            name = f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}"
        job = self.jobs.setdefault(name, Job(name, fields))
        job.fields = fields
        job.gres = fields.get("JOB_GRES", "").replace("(null)", "") or job.gres
        for seen, now in ((job.states, fields["JobState"]), (job.nodes, fields["NodeList"])):
            if now not in ("", "(null)") and seen[-1:] != [now]:
                seen.append(now)
