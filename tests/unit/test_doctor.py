from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from melanoma import cli, config, doctor
from melanoma.cluster import Site
from melanoma.doctor import deep, probe, slurm
from melanoma.doctor.findings import Finding
from melanoma.doctor.surroundings import (
    Answer,
    Profile,
    Surroundings,
    reachable,
    read_profile,
    run_command,
)
from melanoma.errors import InputError

CONFIG = """\
AccountingStorageType   = accounting_storage/{accounting}
MinJobAge               = {age} sec
"""
PARTITIONS = """\
PartitionName=cpu Default=YES MaxTime=UNLIMITED PreemptMode=OFF State=UP
PartitionName=gpu Default=NO MaxTime=2-00:00:00 PreemptMode={preempt} State={state}
PartitionName=short Default=NO MaxTime=00:20:00 PreemptMode=OFF State=UP
"""
NODES = """\
NodeName=n1 CPUTot=32 Gres=gpu:h100:4(S:0-1) RealMemory=256000 State=MIXED Partitions=gpu,short
NodeName=n2 CPUTot=32 Gres=gpu:a100:2,gpu:h100:2 RealMemory=256000 State={n2} Partitions=gpu,short
NodeName=c1 CPUTot=16 Gres=(null) RealMemory=64000 State=IDLE Partitions=cpu
"""


class FakeCluster:
    """Answers commands as a cluster does; `missing` names those that aren't installed."""

    def __init__(self, missing: Sequence[str] = (), **said: Any) -> None:
        self.missing = missing
        self.said = {
            "accounting": "slurmdbd",
            "age": 300,
            "preempt": "OFF",
            "state": "UP",
            "n2": "IDLE",
        } | said
        self.commands: list[list[str]] = []
        self.ranks: Callable[[list[str]], Answer] = lambda command: Answer(1, "", "no such job")

    def __call__(self, command: Sequence[str], seconds: float = 30) -> Answer:
        self.commands.append(list(command))
        name = command[0]
        if name in self.missing or name == "nvidia-smi":
            return Answer(127)
        if "melanoma.doctor.probe" in command:
            return self.ranks(list(command))
        if command[1:2] == ["show"]:
            if said := self.said.get("said_of_config"):
                return Answer(1, "", said)
            if self.said.get("down"):
                return Answer(1, "", "Unable to contact slurm controller (connect failure)")
            text = {"config": CONFIG, "partition": PARTITIONS, "node": NODES}[command[2]]
            return Answer(0, text.format(**self.said))
        return Answer(0, "slurm 22.05.8")


LAPTOP = ("sinfo", "sbatch", "srun", "squeue", "scontrol", "scancel", "sacct", "sacctmgr")


@pytest.fixture
def here(tmp_path: Path) -> Surroundings:
    return Surroundings(
        tmp_path,
        Profile(Site("cpu", "gpu", ""), "", "squeue"),
        environment={},
        run=FakeCluster(),
        reachable=lambda url: True,
        free_mb=lambda folder: 1e6,
        memory_mb=64e3,
        cores=8,
    )


def settings(**sections: Any) -> config.Config:
    return config.parse(sections)


def problems(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    assert all(finding.cure for finding in findings if finding.level != "ok")
    return [(each.level, each.what) for each in findings if each.level != "ok"]


def only(findings: Sequence[Finding]) -> Finding:
    (found,) = [each for each in findings if each.level != "ok"]
    return found


def test_nothing_to_report_on_a_fitting_cluster(here: Surroundings) -> None:
    findings = doctor.diagnose(settings(), here)
    assert problems(findings) == []
    assert doctor.render(findings).endswith("0 errors, 0 warnings\n")
    assert not doctor.failed(findings)


@pytest.mark.parametrize(
    ("said", "profile", "level", "words"),
    [
        ({"accounting": "none"}, {"status_command": "sacct"}, "error", "accounting is off"),
        ({"accounting": "none"}, {"status_command": ""}, "error", "accounting is off"),
        ({"age": 60}, {}, "warning", "MinJobAge is 60 s, below the 120 s"),
        ({"age": 60, "accounting": "none"}, {}, "error", "wait for ever"),
        ({}, {"site": Site("cpu", "gpus", "")}, "error", "'gpus' doesn't exist"),
        ({}, {"site": Site("cpus", "gpu", "")}, "error", "'cpus' doesn't exist"),
        ({"state": "DOWN"}, {}, "error", "gpu is DOWN"),
        ({"preempt": "CANCEL"}, {}, "warning", "cancelled when preempted"),
        (
            {},
            {"site": Site("cpu", "gpu", "b200")},
            "error",
            "at most 0 GPUs each (types: a100,",
        ),
        ({}, {"site": Site("cpu", "gpu", "a100")}, "error", "at most 2 GPUs each"),
        ({}, {"site": Site("cpu", "gpu", "h-100")}, "error", "letters, digits"),
        ({}, {"rules": {"train": {"runtime": 4000}}}, "error", "end after 2880 min"),
        ({}, {"rules": {"train": {"mem_mb": 512_000}}}, "error", "0 such nodes"),
        ({}, {"rules": {"train": {"cpus_per_task": 64}}}, "error", "0 such nodes"),
        ({}, {"rules": {"predict": {"runtime": 4000}}}, "error", "rule predict: 4000 min"),
        ({}, {"rules": {"pack": {"mem_mb": 100_000}}}, "error", "rule pack: 15 min and 100.0"),
        ({"down": True}, {}, "error", "controller doesn't answer"),
    ],
)
def test_faults_of_cluster_and_profile(
    here: Surroundings, said: dict[str, Any], profile: dict[str, Any], level: str, words: str
) -> None:
    run = FakeCluster(**said)
    here = replace(here, run=run, profile=replace(here.profile, **profile))
    found = only(doctor.diagnose(settings(), here))
    assert found.level == level
    assert words in found.what


def test_jobs_that_a_partition_is_too_short_for(here: Surroundings) -> None:
    short = replace(here, profile=replace(here.profile, site=Site("short", "short", "")))
    found = problems(doctor.diagnose(settings(), short))
    words = [what.split(":")[0] for _, what in found]
    rules = ("predict", "predict_changed", "gradcam")
    assert words == ["experiment fusion", *(f"rule {name}" for name in rules)]
    mended = {name: {"runtime": 20} for name in ("train", *rules)}
    short = replace(short, profile=replace(short.profile, rules=mended))
    assert problems(doctor.diagnose(settings(), short)) == []


def test_of_several_partitions_the_one_that_fits_counts(here: Surroundings) -> None:
    several = replace(here, profile=replace(here.profile, site=Site("cpu,short", "short,gpu", "")))
    assert problems(doctor.diagnose(settings(), several)) == []
    absent = replace(here, profile=replace(here.profile, site=Site("cpu", "gpu,gone", "")))
    assert "'gone' doesn't exist" in only(doctor.diagnose(settings(), absent)).what


@pytest.mark.parametrize(
    ("written", "name", "number"),
    [
        ("runtime: 240", "runtime", 240),
        ("runtime: 8d", "runtime", 11520),
        ("runtime: 1h 30m", "runtime", 90),
        ('runtime: "90"', "runtime", "90"),
        ("mem_mb: 40GB", "mem_mb", 40_000),
        ("mem: 2 GiB", "mem_mb", 2_147),
        ("mem_mb: \"'40GB'\"", "mem_mb", 40_000),
        ("runtime: 120 * attempt", "runtime", "120 * attempt"),
    ],
)
def test_times_and_sizes_as_snakemake_takes_them(tmp_path, written, name, number) -> None:
    profile = tmp_path / "config.yaml"
    profile.write_text(f"set-resources:\n  train:\n    {written}\n")
    assert read_profile(profile).rules == {"train": {name: number}}


@pytest.mark.parametrize("written", ["120 * attempt", "min(2 * input.size_mb, 8000)", "3 moons"])
def test_what_is_no_plain_time_or_size_stays_as_it_is(tmp_path, written) -> None:
    profile = tmp_path / "config.yaml"
    profile.write_text(f"set-resources:\n  train: {{runtime: {written!r}, mem_mb: {written!r}}}\n")
    assert read_profile(profile).rules == {"train": {"runtime": written, "mem_mb": written}}


def test_quality_of_service_and_reservation_are_those_of_the_jobs(here, tmp_path) -> None:
    profile = tmp_path / "config.yaml"
    extra = "default-resources:\n  slurm_extra: \"'--exclude=node7'\"\n"
    profile.write_text(f"{extra}slurm-qos: normal\nslurm-reservation: course\n")
    command = deep.srun(
        settings().experiment("fusion"), replace(here, profile=read_profile(profile))
    )
    assert {"--qos=normal", "--reservation=course", "--exclude=node7"} <= set(command)
    assert not any("qos" in word for word in deep.srun(settings().experiment("fusion"), here))


def test_a_profile_that_is_named_must_be_there(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        doctor.surroundings(tmp_path, tmp_path / "none.yaml")


def test_the_slowest_experiment_counts(here: Surroundings) -> None:
    rules = {name: {"runtime": 20} for name in ("train", "predict", "predict_changed", "gradcam")}
    short = replace(here, profile=replace(here.profile, site=Site("short"), rules=rules))
    slow = {"fusion": {}, "slow": {"images": {"hair_removal": "dullrazor"}}}
    configured = settings(images={"shards": 2}, experiments=slow)
    assert "rule remove_hair" in only(doctor.diagnose(configured, short)).what


@pytest.mark.parametrize(
    ("nodes", "gpus", "said", "level"),
    [
        (1, 4, {}, None),
        (1, 4, {"n2": "DOWN*"}, None),
        (2, 2, {}, None),
        (2, 2, {"n2": "DOWN*"}, "warning"),
        (2, 2, {"n2": "IDLE+DRAIN"}, "warning"),
        (2, 4, {}, "error"),
        (1, 8, {}, "error"),
        (3, 1, {}, "error"),
        (1, 0, {}, None),
    ],
)
def test_gpus_against_nodes(
    here: Surroundings, nodes: int, gpus: int, said: dict[str, Any], level: str | None
) -> None:
    here = replace(here, run=FakeCluster(**said), profile=replace(here.profile, status_command=""))
    training = {"nodes": nodes, "gpus_per_node": gpus, "batch_size": 144}
    # A batch on one CPU node needs more memory than this machine has; that is another check.
    small = {"images": {"size": 64}, "model": {"backbone": "resnet18"}}
    found = doctor.diagnose(settings(training=training, **small), here)
    levels = {each.level for each in found if "nodes" in each.what} - {"ok"}
    assert levels == ({level} if level else set())


@pytest.mark.parametrize(
    ("missing", "account", "words"),
    [
        (["sacct"], "", "sacct"),
        (["sacctmgr"], "hpc1", "sacctmgr"),
        (["srun", "sbatch"], "", "sbatch, srun"),
        (["sacctmgr"], "", None),
    ],
)
def test_missing_commands(
    here: Surroundings, missing: list[str], account: str, words: str | None
) -> None:
    here = replace(here, run=FakeCluster(missing), profile=replace(here.profile, account=account))
    what = [what for _, what in problems(list(slurm.check_commands(here)))]
    assert what == ([f"SLURM commands missing: {words}"] if words else [])


def test_inside_an_allocation(here: Surroundings) -> None:
    found = only(list(slurm.check_commands(replace(here, environment={"SLURM_JOB_ID": "5"}))))
    assert "inside the SLURM job 5" in found.what


@pytest.mark.parametrize(
    ("accelerator", "gpus", "level"),
    [("auto", 4, "warning"), ("gpu", 4, "error"), ("auto", 0, None)],
)
def test_laptop_without_gpu(
    here: Surroundings, accelerator: str, gpus: int, level: str | None
) -> None:
    laptop = replace(here, run=FakeCluster(LAPTOP), memory_mb=1e6)
    training = {"accelerator": accelerator, "gpus_per_node": gpus}
    findings = doctor.diagnose(settings(training=training), laptop)
    assert [lvl for lvl, _ in problems(findings)] == ([level] if level else [])
    assert "no SLURM here" in findings[-1].what


@pytest.mark.parametrize(
    ("cores", "size", "words"),
    [(4, 224, "about 48 minutes"), (1, 224, "about 3 hours"), (16, 32, "a minute or two")],
)
def test_time_on_the_cpu_in_words(here: Surroundings, cores: int, size: int, words: str) -> None:
    laptop = replace(here, run=FakeCluster(LAPTOP), memory_mb=1e6, cores=cores)
    configured = settings(images={"size": size})
    assert words in only(doctor.diagnose(configured, laptop)).what


def test_commands_without_a_cluster_are_no_cluster(here: Surroundings) -> None:
    run = FakeCluster(said_of_config=slurm.NO_CONFIGURATION)
    findings = doctor.diagnose(settings(), replace(here, run=run, memory_mb=1e6))
    assert "no SLURM here" in findings[-1].what
    assert "no GPU here" in only(findings).what


def test_a_controller_that_is_down_is_told_in_one_line(here: Surroundings) -> None:
    run = FakeCluster(said_of_config="scontrol: error: part\nscontrol: fatal: no route")
    found = only(doctor.diagnose(settings(), replace(here, run=run)))
    assert found.what == "SLURM's controller doesn't answer: scontrol: fatal: no route"


def test_the_verdict(here: Surroundings) -> None:
    broken = [Finding("error", "broken", "mend it")]
    assert "cannot run here" in doctor.verdict(broken, here)
    assert "--executor slurm" in doctor.verdict([], here)
    laptop = replace(here, run=FakeCluster(LAPTOP))
    assert doctor.verdict([], laptop).endswith(f"snakemake --directory {here.folder}")
    (here.folder / "workflow").mkdir()
    (here.folder / "workflow/Snakefile").touch()
    assert doctor.verdict([], laptop).endswith(": snakemake")


def test_the_official_test_set_is_no_reason_to_stop(here: Surroundings) -> None:
    gone = {"images": "gone.zip", "ground_truth": "gone.csv"}
    findings = doctor.diagnose(settings(data={"test": gone}), here)
    assert [level for level, _ in problems(findings)] == ["warning", "warning"]
    assert all("needed for results/official alone" in what for _, what in problems(findings))


def test_a_folder_without_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["doctor"])
    assert "no config/config.yaml here; go to the folder of the run" in capsys.readouterr().err


def test_gpu_here(here: Surroundings) -> None:
    def run(command: Sequence[str], seconds: float = 30) -> Answer:
        return Answer(0, "NVIDIA H200, 550.1\n") if command[0] == "nvidia-smi" else Answer(127)

    findings = doctor.diagnose(settings(), replace(here, run=run))
    assert "1 GPU here: NVIDIA H200, 550.1" in [each.what for each in findings]


def test_too_little_memory_and_disk(here: Surroundings) -> None:
    small = replace(here, memory_mb=4e3, free_mb=lambda folder: 5e3)
    found = problems(doctor.diagnose(settings(), small))
    assert [level for level, _ in found] == ["warning", "error"]
    # 9.1 GB to fetch, 3.4 times the store of 3.8 GB, 2 GB of results.
    assert "about 24 GB are needed" in found[1][1]


def test_disk_counts_only_what_is_still_to_come(here: Surroundings) -> None:
    for name in ("resources/isic2019/train/images.zip", "results/images/train/lines-crop-224.npy"):
        path = here.folder / name
        path.parent.mkdir(parents=True)
        path.touch()
    findings = doctor.diagnose(settings(), replace(here, free_mb=lambda folder: 2.1e3))
    assert any("about 2 GB are needed" in each.what for each in findings)
    assert problems(findings) == []


def test_a_missing_archive_is_told_though_an_earlier_run_linked_one(here: Surroundings) -> None:
    for name in ("images.zip", "ground_truth.csv"):
        linked = here.folder / "resources/isic2019/train" / name
        linked.parent.mkdir(parents=True, exist_ok=True)
        (here.folder / name).touch()
        linked.symlink_to(here.folder / name)
    train = {"images": "mine/gone.zip", "ground_truth": "ground_truth.csv"}
    without = settings(data={"train": train}, model={"metadata": False})
    findings = doctor.diagnose(without, here)
    assert "mine/gone.zip doesn't exist" in only(findings).what
    assert "data.train.ground_truth: ground_truth.csv" in [each.what for each in findings]


@pytest.mark.parametrize("spelling", ["w/mine.pth", "file:w/mine.pth", "{}/w/mine.pth"])
def test_local_weights(here: Surroundings, spelling: str) -> None:
    configured = settings(model={"weights": spelling.format(here.folder)})
    assert "mine.pth doesn't exist" in only(doctor.diagnose(configured, here)).what
    (here.folder / "w").mkdir()
    (here.folder / "w/mine.pth").touch()
    assert problems(doctor.diagnose(configured, here)) == []


def test_weights_on_another_machine(here: Surroundings) -> None:
    configured = settings(model={"weights": "file://elsewhere/mine.pth"})
    assert "names another machine" in only(doctor.diagnose(configured, here)).cure


def test_without_internet_weights_and_data_must_lie_here(here: Surroundings) -> None:
    offline = replace(here, reachable=lambda url: False)
    found = [what for _, what in problems(doctor.diagnose(settings(), offline))]
    assert [what.split(":")[0] for what in found] == [
        "data.train.images",
        "data.train.ground_truth",
        "data.train.metadata",
        "weights",
    ]
    weights = here.folder / "resources/weights/resnet50-11ad3fa6.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    found = [what for _, what in problems(doctor.diagnose(settings(), offline))]
    assert len(found) == 3


def test_backbone_without_known_weights(here: Surroundings) -> None:
    found = only(doctor.diagnose(settings(model={"backbone": "vgg11"}), here))
    assert found.level == "error"
    assert "vgg11" in found.what


def test_a_backbone_that_torchvision_does_not_have(here: Surroundings) -> None:
    misspelt = {"backbone": "resnet51", "pretrained": False}
    assert "did you mean 'resnet" in only(doctor.diagnose(settings(model=misspelt), here)).what
    other = {"backbone": "vgg11", "pretrained": False}
    assert problems(doctor.diagnose(settings(model=other), here)) == []


def rank(number: int, ranks: int = 4, **found: Any) -> dict[str, Any]:
    return {
        "rank": number,
        "ranks": ranks,
        "host": f"n{number // 2 + 1}",
        "shared": True,
        "met": "",
        "torch": "2.15",
        "built_for": "13.2",
        "gpus": 2,
        "name": "H100",
    } | found


TWO_BY_TWO = {"nodes": 2, "gpus_per_node": 2}


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([rank(n) for n in range(4)], None),
        ([rank(n) for n in range(3)], "3 of 4 ranks started on n1, n2"),
        ([rank(n, shared=n < 2) for n in range(4)], "this folder isn't visible on n2"),
        (
            [rank(n, met="refused" * (n == 3)) for n in range(4)],
            "rank 3 on n2 couldn't meet",
        ),
        ([rank(n, gpus=2 * (n < 2)) for n in range(4)], "sees 0 GPUs on n2"),
    ],
)
def test_deep_findings(here: Surroundings, ranks: list[dict[str, Any]], words: str | None) -> None:
    run = FakeCluster()
    run.ranks = lambda command: Answer(0, "".join(json.dumps(each) + "\n" for each in ranks))
    here = replace(here, run=run, profile=replace(here.profile, account="hpc1"))
    found = problems(doctor.diagnose(settings(training=TWO_BY_TWO), here, deep=True))
    assert [words in what for _, what in found if words] == ([True] if words else [])
    assert run.commands[-1][:7] == [
        "srun",
        "--account=hpc1",
        "--partition=gpu",
        "--gres=gpu:2",
        "--nodes=2",
        "--ntasks-per-node=2",
        "--cpus-per-task=1",
    ]
    assert list(here.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [
        (Answer(1, "", "srun: error: execve: No such file"), "error", "No such file"),
        (Answer(1, "", "srun: Unable to allocate: immediate"), "warning", "didn't start"),
        (Answer(124, "", "no answer"), "warning", "didn't start"),
    ],
)
def test_test_job_that_says_nothing(
    here: Surroundings, answer: Answer, level: str, words: str
) -> None:
    run = FakeCluster()
    run.ranks = lambda command: answer
    found = only(doctor.diagnose(settings(), replace(here, run=run), deep=True))
    assert found.level == level
    assert words in found.what


def test_no_test_job_after_errors(here: Surroundings) -> None:
    run = FakeCluster(state="DOWN")
    findings = doctor.diagnose(settings(), replace(here, run=run), deep=True)
    assert "no test job was started" in findings[-1].what
    assert not any("melanoma.doctor.probe" in command for command in run.commands)


def test_deep_on_a_laptop_only_looks_for_cuda(here: Surroundings) -> None:
    run = FakeCluster(LAPTOP)
    run.ranks = lambda command: Answer(0, json.dumps(rank(0, 1, gpus=0)))
    findings = doctor.diagnose(settings(), replace(here, run=run), deep=True)
    assert [level for level, _ in problems(findings)] == ["warning", "warning"]
    assert run.commands[-1][0] != "srun"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("node[1-2]", "node1"),
        ("n[03,07-9]", "n03"),
        ("a1,b2", "a1"),
        ("x[5]", "x5"),
    ],
)
def test_rank_0_is_on_the_first_node(nodes: str, first: str) -> None:
    found = probe.main_address({"SLURM_JOB_NODELIST": nodes, "SLURM_JOB_ID": "12345"})
    assert found == (first, 17_346)


def meet_all(ranks: int, present: int, seconds: float) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ("127.0.0.1", server.getsockname()[1])
    said = [""] * present

    def one(number: int) -> None:
        said[number] = probe.meet(number, ranks, address, seconds)

    threads = [threading.Thread(target=one, args=(number,)) for number in reversed(range(present))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_ranks_meet() -> None:
    assert meet_all(3, 3, 10) == ["", "", ""]


def test_ranks_say_who_is_missing() -> None:
    said = meet_all(3, 2, 1)
    assert "1 of 2 ranks connected" in said[0]
    assert "rank 0 gave up" in said[1]


def test_probe_sees_the_token_and_torch(tmp_path: Path) -> None:
    found = probe.probe(tmp_path, "token", {})
    (tmp_path / "token").touch()
    assert not found["shared"]
    assert probe.probe(tmp_path, "token", {})["shared"]
    assert (found["rank"], found["ranks"], found["met"]) == (0, 1, "")


def test_quick_names_what_a_training_lacks(here: Surroundings) -> None:
    experiment = settings(training={"accelerator": "gpu"}).experiment("fusion")
    files = {"store": here.folder / "store.npy", "weights": None}
    poor = replace(here, free_mb=lambda folder: 500)
    found = problems(doctor.quick(experiment, files, here.folder / "new/folder", poor))
    assert [level for level, _ in found] == ["error"] * 3
    assert "store.npy isn't there" in found[0][1]
    assert "500 MB free" in found[1][1]
    assert "no GPU here" in found[2][1]


def test_quick_has_nothing_to_say(here: Surroundings) -> None:
    experiment = settings(training={"accelerator": "cpu"}).experiment("fusion")
    assert not problems(doctor.quick(experiment, {}, here.folder, here))


def test_profile_is_read_as_snakemake_does(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert read_profile(path) == Profile()
    path.write_text(
        "default-resources: {slurm_account: 12, slurm_partition: a, gpu_partition: b, gpu_type: }\n"
        "set-resources: {train: {runtime: 90}}\n"
        "slurm-status-command: squeue\nslurm-init-seconds-before-status-checks: 5\n"
    )
    rules = {"train": {"runtime": 90}}
    assert read_profile(path) == Profile(Site("a", "b", ""), "12", "squeue", 5, rules)
    path.write_text("- a list\n")
    with pytest.raises(InputError, match=r"config\.yaml: not a profile"):
        read_profile(path)


def test_own_profile_is_found(tmp_path: Path) -> None:
    found = doctor.surroundings(tmp_path)
    assert found.profile.status_command == "squeue"
    assert found.free_mb(tmp_path) > 0
    assert found.cores > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2-00:00:00", 2880), ("01:30:00", 90), ("00:00:30", 0.5), ("UNLIMITED", float("inf"))],
)
def test_time_limits(text: str, expected: float) -> None:
    assert slurm.minutes(text) == expected


def test_commands_are_run() -> None:
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"]) == Answer(
        3, "out\n", "err\n"
    )
    assert run_command(["no-such-command"]).status == 127
    assert run_command(["sleep", "5"], 0.1).status == 124


class OnlyIndex(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response({"/there": 200, "/secret": 403}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def test_an_address_answers_or_not() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), OnlyIndex) as server:
        threading.Thread(target=server.serve_forever).start()
        base = f"http://127.0.0.1:{server.server_port}"
        answers = [reachable(f"{base}/{page}") for page in ("there", "secret", "gone")]
        server.shutdown()
    assert answers == [True, True, False]


def test_report_is_a_line_each_with_the_cure_below() -> None:
    findings = [Finding("ok", "all well"), Finding("error", "broken", "mend it")]
    assert doctor.render(findings).splitlines() == [
        "ok       all well",
        "error    broken",
        "         -> mend it",
        "1 error, 0 warnings",
    ]


def test_only_the_web_is_asked() -> None:
    assert not reachable("file:///etc/passwd")
    assert not reachable("http://127.0.0.1:9/")
