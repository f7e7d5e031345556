"""The options as keyword arguments, so that editors complete and check them.

They are the fields of the classes in `options.py`, which describe them; a test compares both. A
keyword that is left out keeps the value of `options=`.
"""

from collections.abc import Sequence
from typing import TypedDict

from videogen_jax.diffusion.guidance import GuidancePasses
from videogen_jax.diffusion.sampler_config import SamplerConfig, SamplerName
from videogen_jax.media.fitting import Fit
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.temporal_sr import Interpolation


class _SamplingKeywords(TypedDict, total=False):
    seed: int | Sequence[int]
    negative_prompt: str | Sequence[str] | None
    guidance_rescale: float
    guidance_interval: tuple[float, float] | None
    guidance_passes: GuidancePasses
    sampler: SamplerName | SamplerConfig | None


class VideoKeywords(_SamplingKeywords, total=False):
    """The fields of `VideoOptions`."""

    steps: int | Sequence[int] | None
    guidance: float | Sequence[float] | None
    fps: float | None
    num_frames: int | None
    stages: int | None
    temporal_sr: int | None
    use_reference: bool
    interpolation: Interpolation
    refine: bool
    refine_strength: float
    decoder: DecoderName
    height: int | None
    width: int | None
    fit: Fit
    exact_reference: bool


class ImageKeywords(_SamplingKeywords, total=False):
    """The fields of `ImageOptions`."""

    steps: int | None
    guidance: float | None
    height: int | None
    width: int | None
    strength: float | None
    fit: Fit


class RestoreKeywords(TypedDict, total=False):
    """The fields of `RestoreOptions`."""

    size: int | None
    decoder: DecoderName


class InterpolateKeywords(RestoreKeywords, total=False):
    """The fields of `InterpolateOptions`."""

    times: int | None
    seed: int
    steps: int | None
    sampler: SamplerName | SamplerConfig | None
    interpolation: Interpolation
    refine: bool
    refine_strength: float
