"""Locks: one process at a time, or all that share."""

import errno
import fcntl

import pytest

from melanoma import locks


@pytest.fixture
def two(tmp_path):
    """The same file, opened twice, as two processes do."""
    path = tmp_path / "lock"
    with path.open("a") as first, path.open("a") as second:
        yield first, second


def test_one_has_it_until_its_file_is_closed(two):
    first, second = two
    assert locks.lock(first)
    assert not locks.lock(second.fileno())
    first.close()
    assert locks.lock(second.fileno())


def test_who_shares_shuts_out_only_who_does_not(two, tmp_path):
    first, second = two
    locks.share(first)
    locks.share(second)
    with (tmp_path / "lock").open("a") as third:
        assert not locks.lock(third)


@pytest.mark.parametrize(
    ("number", "held"), [(errno.EACCES, True), (errno.EOPNOTSUPP, False), (errno.ENOLCK, False)]
)
def test_a_file_system_without_locks_is_told_from_a_lock_that_is_held(
    two, monkeypatch, number, held
):
    def refuse(*_):
        raise OSError(number, "refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    if held:
        assert not locks.lock(two[0])
    else:
        with pytest.raises(OSError, match="refused"):
            locks.lock(two[0])
