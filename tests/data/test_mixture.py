"""Mixtures of sources by weight: their order, with any number of readers and after resuming."""

from itertools import islice

import pytest

from videogen_jax.data.loader import Mixture, make_loader


def indices(loader, batches: int) -> list[int]:
    return [int(i) for batch in islice(loader, batches) for i in batch["index"]]


class Numbers:
    """A source of `size` numbers `index`, starting at `first`, with their `epoch`."""

    def __init__(self, first: int, size: int):
        self._first, self._size = first, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> dict[str, int]:
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, int]:
        return {"index": self._first + index, "epoch": epoch}


def test_a_mixture_keeps_its_weights_and_its_parts_their_epochs():
    mixture = Mixture((Numbers(0, 18), Numbers(100, 4)), (3.0, 1.0))
    assert len(mixture) == 22
    batches = list(islice(make_loader(mixture, 6, 0), 12))
    whole = [int(index) for batch in batches for index in batch["index"]]
    epochs = [int(epoch) for batch in batches for epoch in batch["epoch"]]
    large, small = (
        [(i, e) for i, e in zip(whole, epochs, strict=True) if (i >= 100) == which]
        for which in (False, True)
    )
    assert (len(large), len(small)) == (54, 18)
    for part, first, size in ((large, 0, 18), (small, 100, 4)):
        for epoch in range(len(part) // size):
            read = part[epoch * size : (epoch + 1) * size]
            assert sorted(read) == [(first + i, epoch) for i in range(size)]
    assert all(sum(i >= 100 for i in whole[k : k + 8]) == 2 for k in range(0, 72, 8))  # evenly


def test_a_mixture_is_the_same_for_any_readers_and_after_resuming():
    mixture = Mixture((Numbers(0, 18), Numbers(100, 4)), (3.0, 1.0))
    whole = indices(make_loader(mixture, 6, 0), 12)
    readers = [
        indices(make_loader(mixture, 6, 0, positions=range(i, i + 2)), 12) for i in (0, 2, 4)
    ]
    assert sum((r[k : k + 2] for k in range(0, 24, 2) for r in readers), []) == whole
    resumed = make_loader(mixture, 6, 0, num_threads=0)
    resumed.set_state({"samples": 24})
    assert indices(resumed, 8) == whole[24:]


@pytest.mark.parametrize(
    ("sources", "weights", "message"),
    [
        ((), (), "0 sources and 0 weights"),
        ((Numbers(0, 2),), (1.0, 2.0), "1 sources and 2 weights"),
        ((Numbers(0, 2),), (0.0,), r"weights must be above 0, got \(0.0,\)"),
    ],
)
def test_bad_mixtures(sources, weights, message):
    with pytest.raises(ValueError, match=message):
        Mixture(sources, weights)
