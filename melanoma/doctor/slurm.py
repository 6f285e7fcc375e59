"""Checks of a SLURM cluster against the configuration and the profile."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from melanoma.cluster import needs
from melanoma.config import Config, Experiment
from melanoma.doctor.findings import Finding, error, ok, warning
from melanoma.doctor.machine import experiments
from melanoma.doctor.surroundings import NOT_FOUND, Answer, Profile, Surroundings
from melanoma.wording import counted

COMMANDS = ("sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
PROFILE_KEY = "in workflow/profiles/default/config.yaml"
GPU_TYPE = re.compile(r"[A-Za-z0-9_.]*")
"""What the executor accepts as a type of GPU."""

NO_CONFIGURATION = "Could not establish a configuration source"
"""What SLURM's commands say where they are installed but no cluster is set up for them."""


class ControllerError(Exception):
    """SLURM's controller didn't answer."""


@dataclass(frozen=True)
class Node:
    """A node as `scontrol show node` describes it: memory in MB, GPUs by type ("" untyped)."""

    name: str
    partitions: tuple[str, ...]
    gpus: dict[str, int]
    cpus: int
    memory_mb: int
    up: bool

    def gpus_of(self, kind: str) -> int:
        """GPUs of one type, or of the most frequent one for ""."""
        found = [n for name, n in self.gpus.items() if kind.lower() in ("", name.lower())]
        return max(found, default=0)


class Cluster:
    """What the controller says; asked once for each kind of answer.

    Raises:
        ControllerError: from any attribute, when the controller doesn't answer.
    """

    def __init__(self, here: Surroundings) -> None:
        self.here = here

    def _show(self, what: str) -> str:
        command = ["scontrol", "show", what, *(["-o"] if what != "config" else [])]
        answer = self.here.run(command)
        if answer.status:
            raise ControllerError(_last_line(answer) or "no answer")
        return answer.out

    @cached_property
    def settings(self) -> dict[str, str]:
        """SLURM's configuration, name to value."""
        found = re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", self._show("config"), re.MULTILINE)
        return dict(found)

    @cached_property
    def partitions(self) -> dict[str, dict[str, str]]:
        """Partition to its properties."""
        lines = [_fields(line) for line in self._show("partition").splitlines()]
        return {fields["PartitionName"]: fields for fields in lines if "PartitionName" in fields}

    @cached_property
    def nodes(self) -> list[Node]:
        """All nodes."""
        lines = [_fields(line) for line in self._show("node").splitlines()]
        return [_node(fields) for fields in lines if "NodeName" in fields]

    def partition(self, wanted: str) -> str:
        """`wanted`, or the cluster's default partition, or ""."""
        defaults = [name for name, p in self.partitions.items() if p.get("Default") == "YES"]
        return wanted or next(iter(defaults), "")

    def partitions_of(self, wanted: str) -> list[str]:
        """The partitions in a list as sbatch takes it, or the default one; as far as they exist."""
        names = [self.partition(name.strip()) for name in wanted.split(",")]
        return [name for name in names if name in self.partitions]

    def nodes_of(self, partitions: Sequence[str]) -> list[Node]:
        """Nodes of any of some partitions."""
        return [node for node in self.nodes if set(partitions) & set(node.partitions)]

    def limit(self, partitions: Sequence[str]) -> float:
        """The longest time limit of some partitions, in minutes."""
        limits = [self.partitions[name].get("MaxTime", "UNLIMITED") for name in partitions]
        return max(minutes(limit) for limit in limits)


def is_here(here: Surroundings) -> bool:
    """Whether there is a cluster; its commands alone, as a package installs them, are none."""
    if here.run(["sinfo", "--version"]).status == NOT_FOUND:
        return False
    answer = here.run(["scontrol", "show", "config"])
    return NO_CONFIGURATION not in answer.err + answer.out


def _last_line(answer: Answer) -> str:
    """What a command complains of in the end; the lines before it are of its parts."""
    return (answer.err or answer.out).strip().rpartition("\n")[2]


def _fields(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S*)", line))


def _node(fields: dict[str, str]) -> Node:
    gpus: dict[str, int] = {}
    for entry in re.sub(r"\([^)]*\)", "", fields.get("Gres", "")).split(","):
        name, *rest = entry.split(":")
        if name == "gpu" and rest and rest[-1].isdigit():
            gpus[":".join(rest[:-1])] = gpus.get(":".join(rest[:-1]), 0) + int(rest[-1])
    bad = re.search(r"DOWN|DRAIN|FAIL|MAINT|NOT_RESPONDING|INVAL|\*", fields.get("State", "DOWN"))
    return Node(
        fields["NodeName"],
        tuple(fields.get("Partitions", "").split(",")),
        gpus,
        int(fields.get("CPUTot", "0")),
        int(fields.get("RealMemory", "0")),
        not bad,
    )


def minutes(text: str) -> float:
    """A time limit of SLURM, e.g. "2-00:00:00", "01:00:00" or "UNLIMITED", in minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if not match:
        return float("inf")
    days, hours, mins, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + mins + seconds / 60


def check_commands(here: Surroundings) -> Iterator[Finding]:
    """SLURM's commands, and the one that the executor asks for an account."""
    # The executor runs it before each submission, and without it submits nothing.
    asked = "sacctmgr" if here.profile.account else "sacct"
    wanted = (*COMMANDS, asked)
    missing = [name for name in wanted if here.run([name, "--version"]).status == NOT_FOUND]
    if missing:
        yield error(
            f"SLURM commands missing: {', '.join(missing)}",
            "run on a submit host, or load the module that provides them",
        )
    else:
        yield ok("SLURM commands present")
    if "SLURM_JOB_ID" in here.environment:
        yield warning(
            f"inside the SLURM job {here.environment['SLURM_JOB_ID']}",
            "use its cores and GPUs with plain `snakemake`; submit jobs from the submit host",
        )


def check_status(cluster: Cluster, profile: Profile) -> Iterator[Finding]:
    """Whether the executor can learn that a job has ended."""
    storage = cluster.settings.get("AccountingStorageType", "accounting_storage/none")
    accounting = not storage.endswith(("/none", "(null)"))
    installed = cluster.here.run(["sacct", "--version"]).status != NOT_FOUND
    command = profile.status_command or ("sacct" if installed else "squeue")
    if command == "squeue":
        yield _squeue(cluster, profile, falls_back=installed and not accounting)
    elif accounting:
        yield ok("job states are asked from sacct, and accounting is on")
    else:
        yield error(
            "job states are asked from sacct, but accounting is off: a run would wait for ever",
            f"set slurm-status-command: squeue {PROFILE_KEY}",
        )


def _squeue(cluster: Cluster, profile: Profile, *, falls_back: bool) -> Finding:
    """Whether squeue remembers jobs for long enough; else the executor falls back to sacct."""
    digits = re.match(r"\d+", cluster.settings.get("MinJobAge", ""))
    age = int(digits.group()) if digits else 0
    needed = 3 * profile.status_seconds
    if age >= needed:
        return ok(f"job states are asked from squeue; MinJobAge is {age} s")
    what = f"MinJobAge is {age} s, below the {needed} s that squeue needs"
    cure = (
        f"ask for MinJobAge={needed} in slurm.conf, or set "
        f"slurm-init-seconds-before-status-checks: {max(age // 3, 1)} {PROFILE_KEY}"
    )
    if falls_back:
        return error(f"{what}, and accounting is off: a run would wait for ever", cure)
    return warning(f"{what}: finished jobs may be missed", cure)


def check_partitions(cluster: Cluster, config: Config, profile: Profile) -> Iterator[Finding]:
    """Whether the partitions exist, are up, and how they preempt."""
    site = profile.site
    gpus = any(each.training.gpus_per_node for each in experiments(config))
    wanted = {"slurm_partition": site.partition}
    if gpus:
        wanted["gpu_partition"] = site.gpu_partition or site.partition
    known = ", ".join(cluster.partitions)
    named = [(key, name.strip()) for key, names in wanted.items() for name in names.split(",")]
    for key, name in named:
        found = cluster.partitions.get(cluster.partition(name))
        if found is None:
            what = f"partition {name!r} doesn't exist" if name else "there is no default partition"
            yield error(f"{key}: {what}", f"set {key} {PROFILE_KEY} to one of {known}")
        elif found.get("State", "UP") != "UP":
            yield error(
                f"{key}: partition {found['PartitionName']} is {found['State']}",
                f"wait, or set {key} {PROFILE_KEY} to one of {known}",
            )
        elif found.get("PreemptMode") == "CANCEL":
            yield warning(
                f"{key}: jobs in {found['PartitionName']} are cancelled when preempted",
                "nothing to do where that is rare: such a job is submitted again, up to 20 times "
                "without a new epoch; else take another partition",
            )
        else:
            yield ok(f"{key}: {found['PartitionName']}")


def check_training(cluster: Cluster, experiment: Experiment, profile: Profile) -> Iterator[Finding]:
    """GPUs, nodes, cores, memory and time of a training, against its partition."""
    training, site = experiment.training, profile.site
    asked = needs.train(experiment, site=site) | dict(profile.rules.get("train", {}))
    partitions = cluster.partitions_of(str(asked["slurm_partition"] or ""))
    if not partitions:
        return  # said by check_partitions
    partition = ",".join(partitions)
    label = f"experiment {experiment.name}"
    nodes = cluster.nodes_of(partitions)
    yield _gpus(label, nodes, experiment, partition, site.gpu_type)
    tasks = max(training.gpus_per_node, 1)
    cpus, memory = tasks * _whole(asked["cpus_per_task"], 1), _whole(asked["mem_mb"])
    wide = [n for n in nodes if n.cpus >= cpus and n.memory_mb >= memory]
    what = f"{label}: {cpus} cores and {memory / 1e3:.0f} GB {_on_nodes(training.nodes)}"
    if len(wide) < training.nodes:
        yield error(
            f"{what}; partition {partition} has {counted(len(wide), 'such node')}",
            f"lower set-resources: train: cpus_per_task or mem_mb {PROFILE_KEY}",
        )
    else:
        yield ok(what)
    limit = cluster.limit(partitions)
    runtime = _whole(asked["runtime"])
    if runtime > limit:
        yield error(
            f"{label}: asks for {runtime} min, but jobs in {partition} end after {limit:.0f} min",
            f"set-resources: train: runtime: {limit:.0f} {PROFILE_KEY}; "
            "a longer training goes on in the next job",
        )
    else:
        yield ok(f"{label}: {runtime} min, within the limit of {partition}")


def check_other_jobs(cluster: Cluster, config: Config, profile: Profile) -> Iterator[Finding]:
    """Time and memory of all jobs but trainings, against their partitions."""
    unfit = False
    for name, asked in _other_jobs(config, profile).items():
        wanted = str(asked.get("slurm_partition") or profile.site.partition)
        if not (partitions := cluster.partitions_of(wanted)):
            continue  # said by check_partitions
        runtime, memory = _whole(asked["runtime"]), _whole(asked["mem_mb"])
        what = f"rule {name}: {runtime} min and {memory / 1e3:.1f} GB"
        largest = max((node.memory_mb for node in cluster.nodes_of(partitions)), default=0)
        limit = cluster.limit(partitions)
        if runtime > limit or memory > largest:
            unfit = True
            yield error(
                f"{what}; jobs in {','.join(partitions)} end after {limit:.0f} min, its "
                f"nodes have {largest / 1e3:.0f} GB",
                f"set-resources: {name}: runtime or mem_mb {PROFILE_KEY}, or another partition",
            )
    if not unfit:
        yield ok("all other jobs: within the limits of their partitions")


def _other_jobs(config: Config, profile: Profile) -> dict[str, needs.Resources]:
    """What the rules ask for that may be too much for a partition, the largest of each."""
    trained, site = experiments(config), profile.site
    predict = [needs.predict(each, tta=config.evaluation.tta, site=site) for each in trained]
    jobs = {
        "inspect": [needs.inspect(config.images.shards)],
        "remove_hair": [needs.shard(each.images) for each in trained],
        "pack": [needs.pack(each.images) for each in trained],
        "predict": predict,
        "predict_changed": predict if any(each.model.metadata for each in trained) else [],
        "gradcam": [needs.gradcam(trained[0], config.gradcam, site=site)],
        "evaluate": [needs.table()],
    }
    return {
        name: _largest(every) | dict(profile.rules.get(name, {}))
        for name, every in jobs.items()
        if every
    }


def _largest(jobs: Sequence[needs.Resources]) -> needs.Resources:
    """The longest time and the largest memory that any of some jobs asks for."""
    most = {name: max(_whole(each[name]) for each in jobs) for name in ("runtime", "mem_mb")}
    return jobs[0] | most


def _whole(value: int | str | None, default: int = 0) -> int:
    """A resource as a number; the default where it is none, such as "120 * attempt"."""
    text = str(value)
    return int(text) if text.isdigit() else default


def _on_nodes(nodes: int) -> str:
    return f"on each of {nodes} nodes" if nodes > 1 else "on one node"


def _gpus(
    label: str, nodes: list[Node], experiment: Experiment, partition: str, kind: str
) -> Finding:
    training = experiment.training
    gpus, wanted = training.gpus_per_node, training.nodes
    spelt = counted(gpus, f"{kind} GPU" if kind else "GPU")
    what = f"{label}: {spelt} {_on_nodes(wanted)}"
    if not gpus:
        return ok(f"{label}: no GPUs asked for")
    if not GPU_TYPE.fullmatch(kind):
        return error(
            f"gpu_type {kind!r}: the executor takes letters, digits, _ and . only",
            f"leave gpu_type empty {PROFILE_KEY} and choose nodes by `constraint` in set-resources",
        )
    fit = [node for node in nodes if node.gpus_of(kind) >= gpus]
    if len(fit) < wanted:
        best = max((node.gpus_of(kind) for node in nodes), default=0)
        types = sorted({name or "untyped" for node in nodes for name in node.gpus})
        return error(
            f"{what}; partition {partition} has {counted(len(fit), 'such node')}, at most "
            f"{counted(best, 'GPU')} each (types: {', '.join(types) or 'none'})",
            "lower training.gpus_per_node or training.nodes in config/config.yaml, or change "
            f"gpu_partition or gpu_type {PROFILE_KEY}",
        )
    up = sum(node.up for node in fit)
    if up < wanted:
        return warning(
            f"{what}: only {up} of {counted(len(fit), 'node')} up", "the job waits for them"
        )
    return ok(what)
