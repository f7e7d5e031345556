"""The Grain loader: batches, order, shards, resuming."""

import os
import pickle
import subprocess
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import videogen_jax
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.loader import Batches, _arrays_only, make_loader
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips, ShapesHighFps
from videogen_jax.tokenizer import Tokenizer, load_tokenizer

SHAPES_TOKENIZER = Path(videogen_jax.__file__).parent / "assets" / "shapes" / "tokenizer"
SOURCE = ShapesClips("train", 12, num_frames=2, resolution=16)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(SHAPES_TOKENIZER)


def assert_same(first: dict, second: dict):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def indices(loader: Batches, batches: int) -> list[int]:
    return [int(i) for batch in islice(loader, batches) for i in batch["index"]]


def test_batch(tokenizer):
    batch = next(make_loader(SOURCE, 4, 0, tokenizer, 24, shuffle=False))
    shapes_and_types = {key: (value.shape, str(value.dtype)) for key, value in batch.items()}
    assert shapes_and_types == {
        "video": ((4, 2, 16, 16, 3), "uint8"),
        "fps": ((4,), "float32"),
        "index": ((4,), "int32"),
        "tokens": ((4, 24), "int32"),
    }
    for row, index in enumerate(batch["index"]):
        np.testing.assert_array_equal(batch["video"][row], SOURCE[index]["video"])
        expected_T = tokenizer([SOURCE[index]["caption"]], 24)[0]
        np.testing.assert_array_equal(batch["tokens"][row], expected_T)


def test_without_tokenizer_text_is_left_out():
    batch = next(make_loader(ShapesHighFps("train", 8, resolution=16), 2, 0))
    assert batch.keys() == {"a", "mid", "b", "flow_a", "flow_b", "time", "fps", "index"}


def test_every_epoch_is_another_order_of_everything():
    order = indices(make_loader(SOURCE, 3, seed=0), 8)
    first, second = order[:12], order[12:]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second and first != list(range(12))


def test_order_is_a_function_of_the_seed_not_of_threads():
    order = indices(make_loader(SOURCE, 3, seed=0), 6)
    for num_threads in (0, 1, 4):
        assert indices(make_loader(SOURCE, 3, seed=0, num_threads=num_threads), 6) == order
    assert indices(make_loader(SOURCE, 3, seed=1), 6) != order
    assert indices(make_loader(SOURCE, 6, seed=0), 3) == order


def test_what_worker_processes_receive_survives_pickling(tokenizer):
    source = DegradedClips(SOURCE, DegradeConfig(kernel_radius=(1, 2)))
    convert = partial(_arrays_only, tokenizer, 24)
    other_source, other_convert = pickle.loads(pickle.dumps((source, convert)))
    assert_same(convert(source.at(3, 1)), other_convert(other_source.at(3, 1)))


@pytest.mark.slow  # starts processes that import JAX; the test above is quicker
def test_worker_processes_read_the_same_batches(tmp_path):
    """In a process of its own: Grain's workers may outlive the one that started them."""
    with (tmp_path / "log").open("w+") as log:  # they would keep a pipe open
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.loader_workers"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=log,
            stderr=log,
            timeout=240,
        )
        log.seek(0)
        assert done.returncode == 0, log.read()


def test_no_shuffle_keeps_the_order():
    assert indices(make_loader(SOURCE, 5, 0, shuffle=False), 3) == [*range(12), 0, 1, 2]


def test_processes_share_every_batch_in_its_order():
    """Also when a batch crosses the end of an epoch: 12 examples, batches of 9."""
    whole = indices(make_loader(SOURCE, 9, 0), 4)
    parts = [
        indices(make_loader(SOURCE, 9, 0, positions=range(start, start + 3)), 4)
        for start in (0, 3, 6)
    ]
    batches = [sum((part[3 * i : 3 * i + 3] for part in parts), []) for i in range(4)]
    assert sum(batches, []) == whole


def test_resume_is_byte_identical(tokenizer):
    loader = make_loader(SOURCE, 5, 3, tokenizer)
    for _ in range(4):
        next(loader)
    state = loader.get_state()
    expected = list(islice(loader, 3))
    resumed = make_loader(SOURCE, 5, 3, tokenizer, num_threads=0)
    resumed.set_state(state)
    for batch, other in zip(expected, islice(resumed, 3), strict=True):
        assert_same(batch, other)


def test_resume_on_another_number_of_processes_continues_at_the_same_example():
    """Resumes at any batch, also within an epoch, in the order of a single process."""
    whole = indices(make_loader(SOURCE, 6, 0), 9)
    loader = make_loader(SOURCE, 6, 0, positions=range(2, 4))
    for done in range(1, 8):
        next(loader)
        assert loader.get_state() == {"samples": 6 * done}
        parts = [make_loader(SOURCE, 6, 0, positions=range(i, i + 3)) for i in (0, 3)]
        for part in parts:
            part.set_state(loader.get_state())
        assert sum((indices(part, 1) for part in parts), []) == whole[6 * done : 6 * done + 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"positions": [1, 2]}, r"positions \[1, 2\] are not in a batch of 2"),
        ({"positions": []}, "positions"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_loader(SOURCE, **{"batch_size": 2, "seed": 0} | arguments)
