"""One call of `VideoGen`: from a checked request to videos, part after part (Figure 2).

Letters: B prompts, F frames, H height, W width, C = 3 colour channels, Z latent channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from videogen_jax import sharding
from videogen_jax.media.video import Video
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.decode import FrameDecoder
from videogen_jax.pipeline.denoise import Params
from videogen_jax.pipeline.progress import Reporter
from videogen_jax.pipeline.requests.video import Request
from videogen_jax.pipeline.temporal_sr import TemporalSR
from videogen_jax.pipeline.text_to_image import TextToImage


@dataclass(frozen=True)
class Chain:
    """The parts of a model, which run one after the other.

    Attributes:
        params: `{component: parameters}` on the devices.
        cascade, temporal_sr, decoder, images: the parts.
        mesh: the devices.
        report: what the call shows.
    """

    params: Mapping[str, Params]
    cascade: Cascade
    temporal_sr: TemporalSR
    decoder: FrameDecoder
    images: TextToImage
    mesh: Mesh
    report: Reporter

    def __call__(self, request: Request, pictures_BHWC: np.ndarray | None) -> list[Video]:
        """Makes a video of each prompt.

        Args:
            request: the checked options.
            pictures_BHWC: the user's reference images, or None to make them.
        """
        options = request.options
        keys_B, prompts = self.images.encode(request, request.seeds)
        fps_B = self._put({"fps": np.full(len(request.prompts), request.fps, np.float32)})["fps"]
        reference_BHWC = self._references(request, prompts, keys_B, pictures_BHWC)
        latents_BFHWZ = self._stages(request, prompts, reference_BHWC, fps_B, keys_B)
        if request.rounds:
            latents_BFHWZ = self._super_resolve(request, latents_BFHWZ, fps_B, keys_B)
        with self.report.part("decoding", request.final_num_frames, "frame") as tick:
            frames_BFHWC = self.decoder(self.params, latents_BFHWZ, options.decoder, tick)
        shown = np.asarray(reference_BHWC) if options.use_reference else [None] * len(frames_BFHWC)
        made = zip(frames_BFHWC, request.prompts, shown, request.each_seed, strict=True)
        return [Video(x, request.final_fps, text, image, seed) for x, text, image, seed in made]

    def _put(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        return sharding.put_batch(self.mesh, batch)

    def _references(
        self,
        request: Request,
        prompts: PromptStates,
        keys_B: jax.Array,
        pictures_BHWC: np.ndarray | None,
    ) -> jax.Array | None:
        if pictures_BHWC is not None:
            return self._put({"reference": pictures_BHWC})["reference"]
        if not request.options.use_reference:
            return None
        part, steps = "reference image", request.steps[0]
        with self.report.part(part, steps) as tick:
            reference_BHWC = self.cascade.sample_image(
                self.params, prompts, keys_B, tick=tick, **request.sampling(0)
            )
        self.report.made(part, steps, reference_BHWC)
        return reference_BHWC

    def _stages(
        self,
        request: Request,
        prompts: PromptStates,
        reference_BHWC: jax.Array | None,
        fps_B: jax.Array,
        keys_B: jax.Array,
    ) -> jax.Array:
        latents_BFHWZ: jax.Array | None = None
        for stage in range(1, request.stages + 1):
            part, steps = f"stage {stage}", request.steps[stage]
            with self.report.part(part, steps) as tick:
                latents_BFHWZ = self.cascade.sample_stage(
                    self.params,
                    stage,
                    prompts,
                    reference_BHWC,
                    latents_BFHWZ,
                    fps_B,
                    keys_B,
                    request.num_frames,
                    tick=tick,
                    **request.sampling(stage),
                )
            self.report.made(part, steps, latents_BFHWZ)
        assert latents_BFHWZ is not None  # a request has at least one stage
        return latents_BFHWZ

    def _super_resolve(
        self, request: Request, latents_BFHWZ: jax.Array, fps_B: jax.Array, keys_B: jax.Array
    ) -> jax.Array:
        part, steps = "temporal SR", request.refiner_steps
        with self.report.part(part, steps) as tick:
            latents_BFHWZ = self.temporal_sr(
                self.params,
                latents_BFHWZ,
                fps_B,
                self.images.encode_empty(len(request.prompts)),
                noise.fold_in(keys_B, len(self.cascade.config.stages) + 1),
                request.rounds,
                interpolation=request.options.interpolation,
                refine=request.options.refine,
                strength=request.options.refine_strength,
                steps=request.steps[-1],
                sampler=request.samplers[-1],
                tick=tick,
            )
        self.report.made(part, steps, latents_BFHWZ)
        return latents_BFHWZ
