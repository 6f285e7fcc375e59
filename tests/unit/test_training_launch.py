import pytest
import torch
import training_examples

from melanoma.errors import InputError
from melanoma.training import launch
from melanoma.training.launch import Launch, device_for, plan, rank_of, trainer_arguments

H100, T4 = (9, 0), (7, 5)
SRUN = {"MELANOMA_LAUNCHER": "srun"}
EIGHT = SRUN | {"SLURM_NTASKS": "8"}
JOB = {"SLURM_JOB_ID": "7"}
GIVEN = JOB | {"SLURM_JOB_GPUS": "0"}


def settings(**training):
    base = {"gpus_per_node": 4, "accelerator": "auto", "batch_size": 48}
    return training_examples.experiment(training=base | training).training


def gpu(devices, nodes=1, by_slurm=False):
    return Launch("gpu", devices, nodes, by_slurm, "bf16-mixed")


def cpu(devices, nodes=1, by_slurm=False):
    return Launch("cpu", devices, nodes, by_slurm, "32-true")


@pytest.mark.parametrize(
    ("training", "environment", "gpus", "expected"),
    [
        # own ranks
        ({}, {}, 4, gpu(4)),
        ({}, {}, 8, gpu(4)),
        ({"gpus_per_node": 1}, {}, 1, gpu(1)),
        ({}, JOB | {"SLURM_NTASKS": "4"}, 4, gpu(4)),
        ({"gpus_per_node": 0}, {}, 2, cpu(1)),
        ({"gpus_per_node": 0}, GIVEN, 0, cpu(1)),
        ({"accelerator": "cpu"}, {}, 4, cpu(4)),
        ({"accelerator": "cpu", "gpus_per_node": 0}, {}, 0, cpu(1)),
        ({"accelerator": "cpu"}, GIVEN, 0, cpu(4)),
        # ranks from srun
        ({}, SRUN | {"SLURM_NTASKS": "4"}, 4, gpu(4, 1, by_slurm=True)),
        ({"nodes": 2}, EIGHT, 4, gpu(4, 2, by_slurm=True)),
        ({"nodes": 2, "accelerator": "cpu"}, EIGHT, 0, cpu(4, 2, by_slurm=True)),
        ({"gpus_per_node": 0, "nodes": 8}, EIGHT, 0, cpu(1, 8, by_slurm=True)),
    ],
)
def test_plans_without_a_notice(training, environment, gpus, expected):
    found = plan(settings(**training), environment, gpus=gpus, capability=H100 if gpus else None)
    assert found == expected


@pytest.mark.parametrize(
    ("training", "gpus", "expected", "notice"),
    [
        ({}, 0, ("cpu", 1), "no GPU on this machine"),
        ({}, 2, ("gpu", 2), "on 2 GPUs"),
        ({"gpus_per_node": 6, "batch_size": 36}, 5, ("gpu", 4), "on 4 GPUs"),
        ({"nodes": 2}, 4, ("gpu", 4), "this machine alone"),
    ],
)
def test_what_differs_from_the_settings_is_said(training, gpus, expected, notice):
    found = plan(settings(**training), {}, gpus=gpus, capability=H100 if gpus else None)
    assert (found.accelerator, found.devices, found.nodes) == (*expected, 1)
    assert notice in " ".join(found.notices)


@pytest.mark.parametrize(
    ("training", "environment", "gpus", "message"),
    [
        ({"accelerator": "gpu"}, {}, 0, "no CUDA device"),
        ({"accelerator": "gpu", "gpus_per_node": 0}, {}, 1, "needs training.gpus_per_node"),
        ({}, JOB | {"SLURM_JOB_GPUS": "0,1,2,3"}, 0, "no CUDA device"),
        ({}, JOB | {"CUDA_VISIBLE_DEVICES": "0"}, 0, "no CUDA device"),
        ({}, SRUN | {"SLURM_NTASKS": "4"}, 0, "no CUDA device"),
        ({}, SRUN | {"SLURM_NTASKS": "4"}, 1, "sees 1 of the node's 4 GPUs"),
        ({}, SRUN | {"SLURM_NTASKS": "1"}, 4, "srun started 1 processes"),
        ({}, SRUN, 4, "srun started 1 processes"),
        ({"nodes": 2}, SRUN | {"SLURM_NTASKS": "4"}, 4, "2 x 4"),
        ({}, {"MELANOMA_LAUNCHER": "mpirun"}, 4, "'mpirun' is unknown"),
    ],
)
def test_what_cannot_be_is_refused(training, environment, gpus, message):
    with pytest.raises(InputError, match=message):
        plan(settings(**training), environment, gpus=gpus, capability=H100 if gpus else None)


@pytest.mark.parametrize("devices", ["", "-1", "NoDevFiles"])
def test_a_job_without_gpus_may_use_the_cpu(devices):
    environment = JOB | {"CUDA_VISIBLE_DEVICES": devices}
    assert plan(settings(), environment, gpus=0).accelerator == "cpu"


@pytest.mark.parametrize(
    ("precision", "capability", "expected", "notices"),
    [
        ("auto", H100, "bf16-mixed", 0),
        ("auto", T4, "16-mixed", 0),
        ("auto", None, "32-true", 0),
        ("32", H100, "32-true", 0),
        ("16-mixed", H100, "16-mixed", 0),
        ("bf16-mixed", T4, "16-mixed", 1),
        ("bf16-mixed", None, "32-true", 1),
    ],
)
def test_precision_by_hardware(precision, capability, expected, notices):
    training = settings(precision=precision, gpus_per_node=1 if capability else 0)
    found = plan(training, {}, gpus=1 if capability else 0, capability=capability)
    assert (found.precision, len(found.notices)) == (expected, notices)


def test_rank_before_anything_is_set_up():
    assert rank_of({}) == 0
    assert rank_of({"LOCAL_RANK": "2", "SLURM_PROCID": "5"}) == 2
    assert rank_of(SRUN | {"SLURM_PROCID": "5"}) == 5
    assert rank_of(SRUN | {"SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, local=True) == 1
    assert rank_of({"LOCAL_RANK": "2", "SLURM_LOCALID": "0"}, local=True) == 2


def test_trainer_arguments(monkeypatch):
    alone = trainer_arguments(Launch("cpu", 1, 1, False, "32-true"))
    assert (alone["strategy"], alone["sync_batchnorm"]) == ("auto", False)
    assert type(alone["plugins"][0]).__name__ == "LightningEnvironment"
    for name, value in {"NTASKS": "8", "NTASKS_PER_NODE": "4", "JOB_NAME": "x"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    many = trainer_arguments(Launch("gpu", 4, 2, True, "bf16-mixed"))
    assert (many["devices"], many["num_nodes"], many["sync_batchnorm"]) == (4, 2, True)
    assert many["strategy"].process_group_backend == "nccl"
    assert many["strategy"]._ddp_kwargs["broadcast_buffers"] is False
    assert type(many["plugins"][0]).__name__ == "SLURMEnvironment"
    assert many["plugins"][0].auto_requeue is False
    on_cpu = trainer_arguments(Launch("cpu", 2, 1, False, "32-true"))
    assert on_cpu["strategy"].process_group_backend == "gloo"
    assert on_cpu["sync_batchnorm"] is False


@pytest.mark.parametrize(
    ("accelerator", "gpus", "environment", "expected"),
    [
        ("cpu", 1, {}, "cpu"),
        ("auto", 0, {}, "cpu"),
        ("auto", 1, {}, "cuda:0"),
        ("gpu", 1, {}, "cuda:0"),
        ("gpu", 0, {}, None),
        ("auto", 0, JOB | {"SLURM_JOB_GPUS": "1"}, None),
    ],
)
def test_device_of_other_commands(monkeypatch, accelerator, gpus, environment, expected):
    monkeypatch.setattr(launch, "visible_gpus", lambda: (gpus, H100 if gpus else None))
    monkeypatch.setattr(launch.os, "environ", environment)
    if expected is None:
        with pytest.raises(InputError, match="no CUDA device"):
            device_for(accelerator)
    else:
        assert device_for(accelerator) == torch.device(expected)
