"""Time and energy of trainings, as counters tell them."""

import csv
import ctypes

import pytest

from melanoma import energy


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
    found = energy.summary(tmp_path, 2)
    assert found["measured"] == 2
    assert found["kilowatt_hours"] == pytest.approx(3 * 3600 / 3.6e6)


def test_time_is_of_the_wall_and_gpu_hours_of_all_gpus(tmp_path):
    rows = [("2024-01-01", "old", 99, 4, 9), ("2024-01-02", "new", 1800, 4, 3.6e6)]
    with (tmp_path / "energy-0.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([energy.COLUMNS, *rows])
    assert energy.summary(tmp_path, 1) == {
        "starts": 1,
        "measured": 1,
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
    found = energy.summary(tmp_path, 1)
    assert (found["measured"], found["gpu_hours"], found["kilowatt_hours"]) == (1, 0.0, None)
    assert energy.summary(tmp_path / "nothing", 1)["measured"] == 0


def test_a_start_that_was_killed_is_missed_not_forgotten(tmp_path):
    with energy.recorded(tmp_path, "a", {}, read=readings((1, 0.0), (1, 3.6e6))):
        pass
    found = energy.summary(tmp_path, 2)
    assert (found["starts"], found["measured"], found["kilowatt_hours"]) == (2, 1, None)


def test_a_training_that_is_done_anew_is_counted_anew(tmp_path):
    for first in (True, False, True):
        counters = readings((1, 0.0), (1, 3.6e6))
        with energy.recorded(tmp_path, "a", {}, first=first, read=counters):
            pass
    assert energy.summary(tmp_path, 1)["measured"] == 1


def test_what_records_at_once_does_so_once(tmp_path):
    counters = readings((1, 0.0), (1, 3.6e6))
    with energy.recorded(tmp_path, "a", {}, read=counters) as record:
        record()
    assert energy.summary(tmp_path, 1)["kilowatt_hours"] == 1.0
    assert len((tmp_path / "energy-0.csv").read_text().splitlines()) == 2
