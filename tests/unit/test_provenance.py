"""What is written down of a run: commit, versions, time and energy."""

import csv
import ctypes
import json
import subprocess

import pytest

from melanoma import energy
from melanoma.provenance import collect, git_commit, rule_times

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


class Nvml:
    """Two GPUs with counters, as NVML's functions tell them."""

    def __init__(self, millijoules=(5000, 7000), fails=()):
        self.millijoules = millijoules
        self.fails = fails

    def _code(self, name):
        return 3 if name in self.fails else 0

    def nvmlInit_v2(self):  # noqa: N802
        return self._code("init")

    def nvmlDeviceGetCount_v2(self, count):  # noqa: N802
        count._obj.value = len(self.millijoules)
        return self._code("count")

    def nvmlDeviceGetHandleByIndex_v2(self, number, handle):  # noqa: N802
        handle._obj.value = number.value + 1
        return self._code("handle")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, value):  # noqa: N802
        assert isinstance(value._obj, ctypes.c_ulonglong)
        value._obj.value = self.millijoules[handle.value - 1]
        return self._code("energy")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (2, 12.0)),
        ("0,1", (2, 12.0)),
        ("1", (1, 7.0)),
        ("", None),
        ("7", None),
        ("GPU-8f2c", None),
    ],
)
def test_counters_of_the_gpus_in_use(visible, expected):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert energy.gpu_reading(environment, Nvml()) == expected


@pytest.mark.parametrize("fails", ["init", "count", "handle", "energy"])
def test_no_counter_no_reading(fails):
    assert energy.gpu_reading({}, Nvml(fails=(fails,))) is None


def test_no_driver_no_reading(monkeypatch):
    monkeypatch.setattr(energy, "_LIBRARY", "libnothing-of-the-kind.so.1")
    assert energy.gpu_reading({}) is None


def readings(*values):
    left = list(values)
    return lambda environment: left.pop(0)


def test_starts_add_up_over_nodes(tmp_path):
    for rank, local_rank in ((0, 0), (0, 0), (1, 1), (4, 0), (5, 1)):
        counters = readings((4, 10.0), (4, 3610.0))
        with energy.recorded(tmp_path, "a", {}, rank=rank, local_rank=local_rank, read=counters):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["energy-0.csv", "energy-4.csv"]
    found = energy.summary(tmp_path)
    assert found["starts"] == 2
    assert found["kilowatt_hours"] == pytest.approx(3 * 3600 / 3.6e6)


def test_time_is_of_the_wall_and_gpu_hours_of_all_gpus(tmp_path):
    rows = [("2024-01-01", "old", 99, 4, 9), ("2024-01-02", "new", 1800, 4, 3.6e6)]
    with (tmp_path / "energy-0.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([energy.COLUMNS, *rows])
    assert energy.summary(tmp_path) == {
        "starts": 1,
        "hours": 0.5,
        "gpu_hours": 2.0,
        "kilowatt_hours": 1.0,
    }


def test_what_fails_is_recorded_and_what_cannot_be_measured_is_empty(tmp_path):
    with (
        pytest.raises(ValueError, match="boom"),
        energy.recorded(tmp_path, "a", {}, read=readings(None, (1, 5.0))),
    ):
        raise ValueError("boom")
    found = energy.summary(tmp_path)
    assert (found["starts"], found["gpu_hours"], found["kilowatt_hours"]) == (1, 0.0, None)
    assert energy.summary(tmp_path / "nothing")["starts"] == 0


def test_times_of_rules(tmp_path):
    for name, seconds, cpu, memory in (
        ("split.tsv", "36.0", "18.0", "200.5"),
        ("train/fusion/fold0.tsv", "3600.0", "7200.0", "900.0"),
        ("train/fusion/fold1.tsv", "1800.0", "NA", "1000.0"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + "\t".join([seconds, "x", memory, *"-" * 6, cpu]) + "\n")
    assert rule_times(tmp_path) == {
        "split": {"jobs": 1, "hours": 0.01, "cpu_hours": 0.005, "max_memory_mb": 200.5},
        "train": {"jobs": 2, "hours": 1.5, "cpu_hours": 2.0, "max_memory_mb": 1000.0},
    }
    assert rule_times(tmp_path / "nothing") == {}


def test_commits_say_whether_files_differ(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    assert git_commit(tmp_path) == "unknown"
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "a")
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == f"{clean}+changes"


def test_all_of_it_is_json(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "recipe.json").write_text('{"sha256": "1"}')
    restarts = tmp_path / "fold0" / "restarts.csv"
    restarts.parent.mkdir()
    restarts.write_text("time,host,cause,epoch\n2024,a,lost,3\n")
    found = collect(
        config={"a": 1},
        checkout=tmp_path,
        tables=[tmp_path / "a.csv"],
        recipes=[tmp_path / "recipe.json"],
        restarts={"fusion/fold0": restarts},
        benchmarks=tmp_path,
    )
    json.dumps(found, allow_nan=False)
    assert found["starts"] == {"fusion/fold0": ["2024,a,lost,3"]}
    assert found["training"]["fusion/fold0"]["starts"] == 0
    assert found["versions"]["numpy"]
