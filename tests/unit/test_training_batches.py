import itertools

import numpy as np
import pytest
import torch

from melanoma.errors import InputError
from melanoma.training.batches import (
    Batches,
    HostPixels,
    ResidentPixels,
    training_order,
    training_parts,
    training_steps,
    validation_parts,
)
from melanoma.training.data import is_resident
from melanoma.training.fold import Part

CPU = torch.device("cpu")


def test_order_is_a_permutation_of_seed_and_epoch_alone():
    order = training_order(50, seed=1, epoch=0)
    assert sorted(order) == list(range(50))
    np.testing.assert_array_equal(order, training_order(50, seed=1, epoch=0))
    for seed, epoch in ((1, 1), (2, 0)):
        assert not np.array_equal(order, training_order(50, seed=seed, epoch=epoch))


@pytest.mark.parametrize(
    ("n", "batch_size", "ranks", "steps", "left_out"),
    [
        (48, 16, 1, 3, 0),
        (40, 16, 1, 3, 0),  # the last batch of 8 counts
        (33, 16, 1, 2, 1),  # BatchNorm cannot train on one image
        (39, 16, 4, 2, 7),  # 7 cannot give two images to each of 4
        (40, 16, 4, 3, 0),
        (5, 16, 2, 1, 0),  # fewer than a batch still train
        (37, 16, 3, 2, 5),
        (38, 16, 3, 3, 0),
    ],
)
def test_ranks_share_every_batch(n, batch_size, ranks, steps, left_out):
    order = training_order(n, seed=0, epoch=0)
    plans = [
        training_parts(order, batch_size=batch_size, ranks=ranks, rank=rank)
        for rank in range(ranks)
    ]
    assert {len(plan) for plan in plans} == {steps}
    assert training_steps(n, batch_size=batch_size, ranks=ranks) == steps
    used = []
    for step in range(steps):
        parts = [plan[step][0] for plan in plans]
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 2
        assert {plan[step][1] for plan in plans} == {sum(sizes)}
        used += [position for part in parts for position in part]
    assert len(used) == len(set(used)) == n - left_out


@pytest.mark.parametrize(
    ("n", "batch_size", "ranks", "message"),
    [(100, 6, 4, "batch_size: 6 is too small for 4"), (5, 16, 3, "5 training images are too few")],
)
def test_too_few_images_are_refused(n, batch_size, ranks, message):
    with pytest.raises(InputError, match=message):
        training_steps(n, batch_size=batch_size, ranks=ranks)


@pytest.mark.parametrize(("n", "ranks"), [(13, 1), (13, 2), (12, 5), (3, 4)])
def test_validation_counts_every_row_once(n, ranks):
    plans = [validation_parts(n, batch_size=8, ranks=ranks, rank=rank) for rank in range(ranks)]
    assert all(plan for plan in plans)
    counted = [p for plan in plans for part, total in plan if total for p in part]
    assert sorted(counted) == list(range(n))
    uncounted = [part for plan in plans for part, total in plan if not total]
    assert len(uncounted) == max(0, ranks - n)


@pytest.fixture
def store(tmp_path):
    np.save(tmp_path / "s.npy", np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3), np.uint8))
    return np.load(tmp_path / "s.npy", mmap_mode="r")


def a_part(rows):
    n = len(rows)
    return Part(
        images=tuple(str(i) for i in range(n)),
        rows=np.asarray(rows, dtype=np.int64),
        labels=np.arange(n, dtype=np.int64) % 8,
        metadata=np.arange(n * 2, dtype=np.float32).reshape(n, 2),
    )


@pytest.mark.filterwarnings("error")
def test_resident_and_host_give_the_same_batches(store):
    part = a_part([29, 3, 7, 0, 12, 4, 5, 21])
    order = training_order(8, seed=0, epoch=0)
    plan = [(order[:3], 3), (order[3:6], 3), (order[6:], 2)]
    sources = [ResidentPixels(store, part.rows, CPU), HostPixels(store, part.rows, CPU), None]
    batches = zip(*(Batches(part, source, lambda: plan, CPU) for source in sources), strict=True)
    for (chosen, total), (resident, host, without) in zip(plan, batches, strict=True):
        expected = torch.from_numpy(store[part.rows[chosen]].copy())
        for batch in (resident, host):
            assert torch.equal(batch.pixels, expected)
        assert without.pixels is None
        for batch in (resident, host, without):
            assert batch.labels.tolist() == part.labels[chosen].tolist()
            assert batch.rows.tolist() == part.rows[chosen].tolist()
            assert batch.positions.tolist() == chosen.tolist()
            assert torch.equal(batch.metadata, torch.from_numpy(part.metadata[chosen]))
            assert batch.total == total


def test_host_reads_each_batch_one_ahead_into_the_same_buffers(store):
    source = HostPixels(store, np.arange(30), CPU)
    parts = [np.arange(start, start + 6) for start in range(0, 30, 6)]
    stream = source.stream(parts)
    next(stream)
    buffers = source._buffers
    np.testing.assert_array_equal(buffers[1].numpy(), store[6:12])
    rest = list(stream)
    assert len(rest) == 4
    assert source._buffers is buffers
    assert {batch.data_ptr() for batch in rest} <= {buffer.data_ptr() for buffer in buffers}
    assert list(source.stream([])) == []


def test_a_host_batch_holds_while_the_next_one_is_there_already(store):
    source = HostPixels(store, np.arange(30), CPU)
    parts = [np.arange(start, start + 6) for start in range(0, 30, 6)]
    for part, (batch, _) in zip(parts, itertools.pairwise(source.stream(parts)), strict=False):
        np.testing.assert_array_equal(batch.numpy(), store[part])


def test_batches_follow_the_plan_of_the_moment(store):
    part = a_part(range(6))
    epoch = {"now": 0}

    def plan():
        order = training_order(6, seed=0, epoch=epoch["now"])
        return [(order[:3], 3), (order[3:], 3)]

    batches = Batches(part, None, plan, CPU)
    assert len(batches) == 2
    first = [batch.rows.tolist() for batch in batches]
    epoch["now"] = 1
    assert [batch.rows.tolist() for batch in batches] != first


@pytest.mark.parametrize(("wanted", "expected"), [("auto", False), ("on", True), ("off", False)])
def test_residence_on_the_cpu(wanted, expected):
    assert is_resident(wanted, 10, CPU) is expected


def test_residence_on_a_gpu_goes_by_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    gpu = torch.device("cuda", 0)
    assert [is_resident("auto", size, gpu) for size in (400, 401)] == [True, False]
