"""Random-access sources of examples, for Grain: `len(source)` and `source[index]`.

An example is a dict of numpy arrays and strings; `docs/design.md` section 7 lists the keys. All
randomness is a function of the index: an example is the same on every machine and in every order.

Shape letters: F frames, H height, W width; a trailing 2 is an (x, y) pair, a trailing 3 are RGB
channels.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from videogen_jax.data.degrade import DegradeConfig, degrade, draw_recipe
from videogen_jax.data.loader import Source, example_at
from videogen_jax.data.rates import Fps, check_fps, draw
from videogen_jax.data.shapes import captions
from videogen_jax.data.shapes import world as shapes
from videogen_jax.errors import UserError

Example = dict[str, Any]


@dataclass(frozen=True)
class _ShapesSource:
    """Base class of the sources of shapes clips.

    Attributes:
        split: "train", "validation" or "held_out".
        size: number of examples.
        resolution: height and width in pixels.
        seed: sources with different seeds have different clips; seed 0 has the clips 0 to size - 1
            of the split.
    """

    split: str
    size: int
    _: KW_ONLY
    resolution: int = shapes.REFERENCE_RESOLUTION
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in shapes.SPLITS:
            raise UserError(f"split must be one of {', '.join(shapes.SPLITS)}, got {self.split!r}")
        for name, least in (("size", 1), ("resolution", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be >= {least}, got {getattr(self, name)}")

    def __len__(self) -> int:
        return self.size

    def spec(self, index: int) -> shapes.ClipSpec:
        """Returns the specification of the clip of `self[index]`."""
        # IndexError ends `for example in source`.
        if not 0 <= index < self.size:
            raise IndexError(f"index {index} is not in a source of {self.size} examples")
        return shapes.clip_spec(self.split, (self.seed << 32) + int(index))


@dataclass(frozen=True)
class ShapesClips(_ShapesSource):
    """Captioned clips of moving shapes.

    Attributes:
        num_frames: frames per example. A single frame is the first, at the clip's own fps.
        fps: frames per second of the examples, which keeps the speed; two values: the range from
            which each example draws its own. The example is a window of the clip, at a random time.
            A rate at which it would be longer than the clip is raised to the one at which it spans
            the clip. None: all examples span their clips.
    """

    _: KW_ONLY
    num_frames: int = shapes.NUM_FRAMES
    fps: Fps = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_frames < 1:
            raise UserError(f"num_frames must be >= 1, got {self.num_frames}")
        check_fps(self.fps)

    def __getitem__(self, index: int) -> Example:
        """Returns video uint8 [F, H, W, 3], fps float32, caption str, index int32."""
        spec = self.spec(index)
        times_F, fps = self._times(spec, index)
        video_FHW3 = shapes.render(spec, times_F, self.resolution)
        return {"video": video_FHW3, **_labels(spec, index, fps)}

    def _times(self, spec: shapes.ClipSpec, index: int) -> tuple[np.ndarray, float]:
        """Returns the times of the frames in the clip, and their fps."""
        intervals = self.num_frames - 1
        lowest = spec.fps * intervals / shapes.LAST_TIME  # the window spans the clip
        if self.fps is None or not intervals:
            times_F = np.linspace(0.0, shapes.LAST_TIME, self.num_frames)
            return times_F, lowest if intervals else spec.fps
        low, high = self.fps if isinstance(self.fps, tuple) else (self.fps, self.fps)
        rng = np.random.default_rng([spec.caption_seed, index, 2])
        fps = draw(max(low, lowest), max(high, lowest), rng)
        length = min(spec.fps * intervals / fps, shapes.LAST_TIME)
        start = rng.uniform(0.0, shapes.LAST_TIME - length)
        return np.linspace(start, start + length, self.num_frames), fps


@dataclass(frozen=True)
class ContrastedClips:
    """Clips with additional wrong captions, each of which is wrong in one attribute."""

    clips: "ShapesClips | ShapesImages"

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Example:
        """Returns the clip's example with `contrasts`, `captions.CONTRASTS` texts."""
        spec = self.clips.spec(index)
        rng = np.random.default_rng([spec.caption_seed, 1])
        return {**self.clips[index], "contrasts": captions.contrasting_captions(spec, rng)}


@dataclass(frozen=True)
class ShapesImages(_ShapesSource):
    """The first frames of `ShapesClips`, as clips of one frame, with the clips' captions."""

    def __getitem__(self, index: int) -> Example:
        """Returns video uint8 [1, H, W, 3], fps float32, caption str, index int32."""
        spec = self.spec(index)
        video_FHW3 = shapes.render(spec, [0.0], self.resolution)
        return {"video": video_FHW3, **_labels(spec, index, spec.fps)}


@dataclass(frozen=True)
class ShapesHighFps(_ShapesSource):
    """Triplets of two neighbouring frames and the true frame half-way between them (§3.3)."""

    def __getitem__(self, index: int) -> Example:
        """Returns a triplet at a random time of the clip.

        Returns:
            a, mid, b: uint8 [H, W, 3].
            flow_a, flow_b: float32 [H, W, 2], the true flows that warp a and b backward into mid
                (see `shapes.flow`).
            time: float32, time of mid between a (0) and b (1).
            fps: float32, frame rate of a and b.
            caption: str. index: int32.
        """
        spec = self.spec(index)
        rng = np.random.default_rng([spec.caption_seed, index])
        time = float(rng.integers(shapes.NUM_FRAMES - 1))
        a_HW3, mid_HW3, b_HW3 = shapes.render(spec, (time, time + 0.5, time + 1.0), self.resolution)
        return {
            "a": a_HW3,
            "mid": mid_HW3,
            "b": b_HW3,
            "flow_a": shapes.flow(spec, time + 0.5, time, self.resolution),
            "flow_b": shapes.flow(spec, time + 0.5, time + 1.0, self.resolution),
            "time": np.float32(0.5),
            **_labels(spec, index, spec.fps),
        }


@dataclass(frozen=True)
class DegradedClips:
    """A source's examples with a degraded copy of each clip.

    The recipe is a function of seed, index and epoch: a clip is degraded differently in every
    epoch. So is the choice of the clips that stay clean.

    Attributes:
        source: source of examples with `video`, uint8 [F, H, W, 3]; even H and W, for H.264.
        config: the distributions that recipes are drawn from.
        seed: sources with different seeds degrade the same clips differently.
        clean_probability: that an example's copy is the clip itself.

    Raises UserError if `clean_probability` is not within 0 to 1.
    """

    source: Source
    config: DegradeConfig
    _: KW_ONLY
    seed: int = 0
    clean_probability: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.clean_probability <= 1:
            raise UserError(f"clean_probability is {self.clean_probability}, expected 0 to 1")

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        """`at(index, 0)`."""
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> Example:
        """Returns the source's example with `degraded`, uint8 [F, H, W, 3]."""
        example = example_at(self.source, index, epoch)
        # Drawn apart from the recipe, which is the same for every probability.
        chance = np.random.default_rng([self.seed, index, epoch, 1]).random()
        if chance < self.clean_probability:
            return {**example, "degraded": example["video"]}
        recipe = draw_recipe(self.config, np.random.default_rng([self.seed, index, epoch]))
        return {**example, "degraded": degrade(example["video"], recipe)}


def shapes_clips(
    split: str, size: int, resolution: int, num_frames: int, fps: Fps = None
) -> ShapesClips | ShapesImages:
    """Returns a source of procedural clips, or of their first frames if `num_frames` is 1."""
    if num_frames == 1:
        return ShapesImages(split, size, resolution=resolution)
    return ShapesClips(split, size, resolution=resolution, num_frames=num_frames, fps=fps)


def _labels(spec: shapes.ClipSpec, index: int, fps: float) -> Example:
    return {
        "fps": np.float32(fps),
        "caption": captions.caption(spec, np.random.default_rng(spec.caption_seed)),
        "index": np.int32(index),
    }
