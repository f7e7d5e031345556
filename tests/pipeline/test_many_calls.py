"""A process that makes videos for a day: as many compilations as shapes, and constant memory."""

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support import micro_model
from videogen_jax import VideoGen

SIZES = ((8, 8), (8, 12), (12, 8))
COUNTS = (1, 2, 3)
CALLS, GROWTH = 500, 16  # MiB, 0.03 for a call


def resident() -> float:
    """Returns this process's resident memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.slow  # 500 calls
def test_500_calls_compile_once_for_each_shape_and_keep_no_memory():
    model = VideoGen(micro_model.MICRO, micro_model.params(), micro_model.TOKENIZER)
    draw, shapes = random.Random(0), list(itertools.product(SIZES, COUNTS))

    def call(number: int) -> None:
        (height, width), count = shapes[number % 9] if number < 9 else draw.choice(shapes)
        options: Any = {"height": height, "width": width, "stages": 1, "decoder": "image"}
        prompts = [f"a ring {draw.random()}" for _ in range(count)]
        videos = model(prompts, seed=number, steps=1 + number % 3, **options)
        assert len(videos) == count and videos[0].frames.shape == (4, height, width, 3)

    with micro_model.counting_compilations() as compiled:
        for number in range(2 * len(shapes)):
            call(number)
        # The image model and one stage, for each size and number of prompts.
        assert compiled.count("jit(_sample)") == 2 * len(shapes)
        before, compilations = resident(), len(compiled)
        for number in range(2 * len(shapes), CALLS):
            call(number)
        assert len(compiled) == compilations
    assert resident() - before < GROWTH
