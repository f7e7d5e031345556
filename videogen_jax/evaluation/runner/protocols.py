"""Protocols of evaluation as data: the paper's Tables 1 to 3, and those of other papers.

What a paper does not state is a choice of ours and is said so in `about`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from videogen_jax.errors import UserError
from videogen_jax.evaluation.statistics import Covariance

Place = Literal["first", "middle", "random"]
"""Where a window of frames lies in a longer video; `random` is a function of seed and index."""


@dataclass(frozen=True)
class Protocol:
    """Everything that a score depends on, except the videos and the networks.

    Attributes:
        about: What it reproduces, and what of it is a choice of ours.
        metrics: Names of `measures.METRICS`, separated by commas.
        prompts: What videos are generated from, see `prompts.read_prompts`; "" if it must be given.
        caption_seed: Seed by which `num_videos` captions are drawn without repetition; None takes
            the captions in order, from the beginning again after the last.
        num_videos: Number of generated videos; None for one of each caption.
        real_videos: Number of real videos; None for all.
        scored_frames: Consecutive frames of a video that are scored: the first ones of generated
            videos.
        real_place: Place of the window in a real video.
        real_fps: Frame rate of the real windows, whose stride is the nearest whole number; None
            for consecutive frames.
        resolution: Height and width in pixels to which both sets are cropped and resized; 0
            leaves frames whole, which then are of one size.
        grid: Resizing for I3D, see `features.i3d_features`.
        covariance: Divisor of the covariance of FVD.
        splits: Splits of the inception score.
        seed: Seed of the choice and of the windows of real videos.

    Raises UserError for a number that is out of its range.
    """

    about: str
    metrics: str
    prompts: str
    caption_seed: int | None = None
    num_videos: int | None = None
    real_videos: int | None = None
    scored_frames: int = 16
    real_place: Place = "random"
    real_fps: float | None = None
    resolution: int = 256
    grid: Literal["tf1", "half_pixel"] = "tf1"
    covariance: Covariance = "unbiased"
    splits: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        from_1 = dict.fromkeys(("num_videos", "real_videos", "scored_frames", "splits"), 1)
        from_0 = dict.fromkeys(("resolution", "seed", "caption_seed"), 0)
        for name, lowest in (from_1 | from_0).items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise UserError(f"{name.replace('_', '-')} is {value}, expected {lowest} or more")

    def changed(self, changes: Any) -> "Protocol":
        """Returns the protocol with those fields of a dataclass that are not None."""
        names = {field.name for field in fields(self)} & {field.name for field in fields(changes)}
        values = {name: getattr(changes, name) for name in names}
        return replace(self, **{name: value for name, value in values.items() if value is not None})


Name = Literal[
    "videogen", "videogen-msrvtt", "videogen-msrvtt-1000", "styleganv", "tganv2", "shapes"
]

PROTOCOLS: Mapping[Name, Protocol] = {
    "videogen": Protocol(
        about="Table 1, IS and FVD on UCF-101, zero-shot or fine-tuned; the IS of Table 3. The "
        "paper states 16 frames of 256 pixels alone: 10,000 videos, the middle 16 frames of as "
        "many real ones, and 10 splits are those of VideoPoet's description of the same family.",
        metrics="fvd,is",
        prompts="ucf101",
        num_videos=10_000,
        real_videos=10_000,
        real_place="middle",
    ),
    "videogen-msrvtt": Protocol(
        about="Table 2, CLIPSIM on all captions of MSR-VTT's test set, counted as they are in its "
        "file.",
        metrics="clipsim",
        prompts="",
    ),
    "videogen-msrvtt-1000": Protocol(
        about="Table 3, CLIPSIM on 1,000 random captions of MSR-VTT's test set. The paper does not "
        "say which: those of --caption-seed.",
        metrics="clipsim",
        prompts="",
        caption_seed=0,
        num_videos=1_000,
    ),
    "styleganv": Protocol(
        about="StyleGAN-V's fvd2048_16f and isv2048_ucf. Its networks are TorchScript files, which "
        "were not compared; half-pixel centres are those of torch.",
        metrics="fvd,is",
        prompts="ucf101",
        num_videos=2_048,
        real_videos=2_048,
        grid="half_pixel",
        covariance="population",
    ),
    "tganv2": Protocol(
        about="TGANv2's inception score: 2,048 videos, ten times.",
        metrics="is",
        prompts="ucf101",
        num_videos=20_480,
    ),
    "shapes": Protocol(
        about="The model that ships, on held-out clips of the shapes (--real shapes) and their "
        "captions.",
        metrics="shapes,fvd,lpips",
        prompts="real",
        num_videos=512,
        real_videos=512,
        resolution=64,
    ),
}
