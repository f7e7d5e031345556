"""Checks that worker processes of the loader read the batches that one process reads.

python -m tests.support.loader_workers
"""

from itertools import islice
from pathlib import Path

import numpy as np

import videogen_jax
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.loader import Batches, make_loader
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips
from videogen_jax.errors import UserError
from videogen_jax.tokenizer import load_tokenizer

TOKENIZER = Path(videogen_jax.__file__).parent / "assets" / "shapes" / "tokenizer"
CLIPS = ShapesClips("train", 12, num_frames=2, resolution=16)


class Broken:
    """A source whose only example is an error of the user."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict:
        raise UserError("every clip is damaged")


def loader(num_workers: int) -> Batches:
    source = DegradedClips(CLIPS, DegradeConfig(kernel_radius=(1, 2)))
    tokenizer = load_tokenizer(TOKENIZER)
    return make_loader(source, 5, 0, tokenizer, 24, num_threads=1, num_workers=num_workers)


def main() -> None:
    one, two = loader(0), loader(2)
    for _ in range(2):
        next(one)
    two.set_state(one.get_state())
    for batch, other in islice(zip(one, two, strict=True), 3):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])
    try:
        next(make_loader(Broken(), 1, 0, num_workers=1))
    except UserError as error:
        assert "every clip is damaged" in str(error), error
    else:
        raise AssertionError("the worker's error was lost")


if __name__ == "__main__":
    main()
