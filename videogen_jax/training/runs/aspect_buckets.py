"""The sizes of the networks for each aspect bucket of a run, and whether they can have them."""

from collections.abc import Sequence

from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.aspect_buckets import name_of
from videogen_jax.data.config import DataConfig
from videogen_jax.errors import UserError
from videogen_jax.training.runs.config import RunConfig


def check_buckets(config: RunConfig) -> None:
    """Checks that the run's task and networks can train on each of its buckets.

    Raises:
        UserError: the task trains on squares only, or a size is not a multiple of what a network
            needs; names the bucket, and a size that works.
    """
    data, model = config.data, config.model
    if not data.buckets:
        return
    needed = config.task.cached_latents(model)
    if not config.task.takes_buckets or needed is None:
        name = type(config.task).__name__.removesuffix("TaskConfig")
        raise UserError(
            f"data.buckets: a run of {name} trains on squares; only the image UNet, the stages and "
            "the refiner train on aspect buckets"
        )
    check_sizes(model, data, needed.resolutions)


def check_sizes(model: ModelConfig, data: DataConfig, resolutions: Sequence[int]) -> None:
    """Checks that the networks at some resolutions can have each bucket; see `check_buckets`."""
    for resolution in resolutions:
        multiple = _multiple(model, resolution)
        for size in data.buckets:
            for side in size:
                scaled, rest = divmod(side * resolution, data.resolution)
                if rest or scaled % multiple:
                    nearest = _nearest(side, resolution, data.resolution, multiple)
                    raise UserError(
                        f"data.buckets has {name_of(size)}, whose side of {side} is "
                        f"{side * resolution / data.resolution:g} pixels for the network at "
                        f"{resolution} pixels (data.resolution is {data.resolution}), expected a "
                        f"multiple of {multiple}, as {nearest} is"
                    )


def _multiple(model: ModelConfig, resolution: int) -> int:
    """Returns the pixels of which sides of the networks at a resolution must be multiples."""
    denoisers = (model.image, *model.stages, model.refiner)
    return max(model.size_multiple(one) for one in denoisers if one.resolution == resolution)


def _nearest(side: int, resolution: int, windows: int, multiple: int) -> str:
    """Returns the nearest sides of a bucket that work, as text."""
    works = [
        other
        for other in range(1, 2 * side + multiple * windows)
        if other * resolution % (windows * multiple) == 0
    ]
    below = [other for other in works if other < side][-1:]
    above = [other for other in works if other > side][:1]
    return "a side of " + " or ".join(map(str, below + above))
