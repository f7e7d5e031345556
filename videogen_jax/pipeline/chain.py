"""One call of `VideoGen`: from checked options to videos, component after component (Figure 2).

Letters: B prompts, filled up to a number that the devices divide; F frames, H height, W width,
C = 3 colour channels, Z latent channels.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from videogen_jax import sharding
from videogen_jax.media.video import Video
from videogen_jax.models.text_encoder import TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.decode import FrameDecoder
from videogen_jax.pipeline.denoise import Params
from videogen_jax.pipeline.placement import Turns
from videogen_jax.pipeline.progress import bar
from videogen_jax.pipeline.requests.video import Request
from videogen_jax.pipeline.temporal_sr import TemporalSR
from videogen_jax.pipeline.text_to_image import TextToImage


class Parts(NamedTuple):
    """The parts of a model that make a video, and their devices."""

    params: Mapping[str, Params]
    cascade: Cascade
    temporal_sr: TemporalSR
    decoder: FrameDecoder
    images: TextToImage
    mesh: Mesh


class _Inputs(NamedTuple):
    """What all parts of a call are given; `empty` is the text of the refiner, if it runs."""

    keys_B: jax.Array
    prompts: PromptStates
    empty: TextStates | None
    fps_B: jax.Array
    reference_BHWC: jax.Array | None = None


def sample_videos(
    parts: Parts, request: Request, pictures_BHWC: np.ndarray | None, progress: bool
) -> list[Video]:
    """Makes the videos of a request, within `layout.activate` of the devices.

    Args:
        parts: the model.
        request: the prompts and options.
        pictures_BHWC: the user's references, uint8 at the image model's resolution; None to
            generate them.
        progress: whether to show progress bars.
    """
    generates = pictures_BHWC is None and request.options.use_reference
    turns = Turns(parts.params, request.turns(generates))
    turns.advance()
    inputs = _encode(parts, request)
    if generates:
        turns.advance()
        with bar(progress, "reference image", request.steps[0], "step") as tick:
            reference_BHWC = parts.cascade.sample_image(
                parts.params, inputs.prompts, inputs.keys_B, tick=tick, **request.sampling(0)
            )
        inputs = inputs._replace(reference_BHWC=reference_BHWC)
    elif pictures_BHWC is not None:
        batch = sharding.put_whole_batch(parts.mesh, {"reference": pictures_BHWC})
        inputs = inputs._replace(reference_BHWC=batch["reference"])
    latents_BFHWZ = None
    for stage in range(1, request.stages + 1):
        turns.advance()
        latents_BFHWZ = _sample_stage(parts, request, inputs, stage, latents_BFHWZ, progress)
    assert latents_BFHWZ is not None  # a request has at least one stage
    if request.rounds:
        turns.advance()
        latents_BFHWZ = _super_resolve(parts, request, inputs, latents_BFHWZ, progress)
    turns.advance()
    with bar(progress, "decoding", request.final_num_frames, "frame") as tick:
        frames_BFHWC = parts.decoder(parts.params, latents_BFHWZ, request.options.decoder, tick)
    turns.advance()
    return _videos(request, frames_BFHWC, inputs.reference_BHWC)


def _encode(parts: Parts, request: Request) -> _Inputs:
    count = len(request.prompts)
    keys_B, prompts = parts.images.encode(request)
    refines = request.rounds and request.options.refine
    fps = {"fps": np.full(count, request.fps, np.float32)}
    return _Inputs(
        keys_B,
        prompts,
        parts.images.encode_empty(count) if refines else None,
        sharding.put_whole_batch(parts.mesh, fps)["fps"],
    )


def _sample_stage(
    parts: Parts,
    request: Request,
    inputs: _Inputs,
    stage: int,
    low_res_BFHWZ: jax.Array | None,
    progress: bool,
) -> jax.Array:
    with bar(progress, f"stage {stage}", request.steps[stage], "step") as tick:
        return parts.cascade.sample_stage(
            parts.params,
            stage,
            inputs.prompts,
            inputs.reference_BHWC,
            low_res_BFHWZ,
            inputs.fps_B,
            inputs.keys_B,
            request.num_frames,
            tick=tick,
            **request.sampling(stage),
        )


def _super_resolve(
    parts: Parts, request: Request, inputs: _Inputs, latents_BFHWZ: jax.Array, progress: bool
) -> jax.Array:
    steps = request.refiner_steps
    with bar(progress and steps > 0, "temporal SR", steps, "step") as tick:
        return parts.temporal_sr(
            parts.params,
            latents_BFHWZ,
            inputs.fps_B,
            inputs.empty,
            noise.fold_in(inputs.keys_B, len(parts.cascade.config.stages) + 1),
            request.rounds,
            interpolation=request.options.interpolation,
            refine=request.options.refine,
            strength=request.options.refine_strength,
            steps=request.steps[-1],
            sampler=request.samplers[-1],
            tick=tick,
        )


def _videos(
    request: Request, frames_BFHWC: np.ndarray, reference_BHWC: jax.Array | None
) -> list[Video]:
    shown = None if reference_BHWC is None else sharding.to_host(reference_BHWC)
    return [
        Video(
            frames_BFHWC[i],
            request.final_fps,
            text,
            None if shown is None else shown[i],
            request.seeds[i],
        )
        for i, text in enumerate(request.prompts)
    ]
