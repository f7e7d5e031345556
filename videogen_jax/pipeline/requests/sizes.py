"""Heights and widths of the diffusion models in a call."""

import math
from typing import Any

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.pipeline.requests.checks import check_count

Size = tuple[int, int]  # height and width in pixels
_MAX_SIDE = 16_384  # of H.264


def video_sizes(
    config: ModelConfig, stages: int, rounds: int, height: Any, width: Any
) -> tuple[Size, ...]:
    """Returns the sizes of the image model and of each stage that runs.

    A stage has half of the next one's. The image has the video's aspect ratio, up to what the image
    model needs, and is as much larger or smaller as by default.

    Args:
        config: the model's configuration.
        stages: number of stages.
        rounds: rounds of temporal super-resolution.
        height: of the video; None for the last stage's resolution.
        width: as height.

    Raises:
        UserError: a side is not a multiple of what the networks need; names the nearest ones.
    """
    last = config.stages[stages - 1]
    parts = [
        config.size_multiple(part) * 2 ** (stages - number)
        for number, part in enumerate(config.stages[:stages], start=1)
    ]
    multiple = math.lcm(*parts, *([config.size_multiple(config.refiner)] if rounds else []))
    size = _checked(last.resolution, multiple, height, width)
    scale = config.image.resolution / last.resolution
    needed = config.size_multiple(config.image)
    image = tuple(max(1, round(side * scale / needed)) * needed for side in size)
    halved = [tuple(side // 2 ** (stages - i) for side in size) for i in range(1, stages + 1)]
    return (image, *halved)  # pyright: ignore[reportReturnType]


def image_size(config: ModelConfig, part: DenoiserConfig, height: Any, width: Any) -> Size:
    """Returns the size of an image. Raises UserError as `video_sizes` does."""
    return _checked(part.resolution, config.size_multiple(part), height, width)


def _checked(resolution: int, multiple: int, height: Any, width: Any) -> Size:
    sides = []
    for name, side in (("height", height), ("width", width)):
        side = resolution if side is None else check_count(name, side, 1, _MAX_SIDE)
        if side % multiple and side != resolution:
            below, above = side // multiple * multiple, -(-side // multiple) * multiple
            nearest = f"{below} or {above}" if below else str(above)
            raise UserError(
                f"{name} is {side}, expected a multiple of {multiple}, such as {nearest}: the "
                "autoencoder and every level of the networks divide it"
            )
        sides.append(side)
    return sides[0], sides[1]
