"""One call of `VideoGen`: from checked options to videos, component after component (Figure 2).

Letters: B prompts, filled up to a number that the devices divide; F frames, H height, W width,
C = 3 colour channels, Z latent channels.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh

from videogen_jax import sharding
from videogen_jax.media.video import Video
from videogen_jax.models.text_encoder import TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.decode import FrameDecoder
from videogen_jax.pipeline.denoise import Params, Watch
from videogen_jax.pipeline.exact import with_first_frame
from videogen_jax.pipeline.kept_latents import KeptLatents
from videogen_jax.pipeline.placement import Turns
from videogen_jax.pipeline.progress import Reporter
from videogen_jax.pipeline.requests.video import Request
from videogen_jax.pipeline.temporal_sr import TemporalSR
from videogen_jax.pipeline.text_to_image import TextToImage

Callback: TypeAlias = Callable[[str, int, jax.Array], object]


class Parts(NamedTuple):
    """The parts of a model that make a video, and their devices."""

    params: Mapping[str, Params]
    cascade: Cascade
    temporal_sr: TemporalSR
    decoder: FrameDecoder
    images: TextToImage
    mesh: Mesh


@dataclasses.dataclass(frozen=True)
class Extras:
    """What a call is given besides its request; its results depend on neither bars nor callbacks.

    Attributes:
        pictures_BHWC: the user's references, uint8 of the image model's size; None to generate
            them.
        report: the progress bars, or the user's function of them.
        keeps: receives the result of each part.
        given: has the results of an earlier call's parts.
        after: the last of these that is used; "" for none.
        callback: called with the name of a diffusion model, a step's number and its latents.
        first: position of the first prompt in its list, on which its noise depends.
    """

    pictures_BHWC: np.ndarray | None = None
    report: Reporter = Reporter(False)
    keeps: KeptLatents | None = None
    given: KeptLatents | None = None
    after: str = ""
    callback: Callback | None = None
    first: int = 0


class _Inputs(NamedTuple):
    """What all parts of a call are given; `empty` is the text of the refiner, if it runs."""

    keys_B: jax.Array
    prompts: PromptStates
    empty: TextStates | None
    fps_B: jax.Array


def sample_videos(parts: Parts, request: Request, extras: Extras) -> list[Video]:
    """Makes the videos of a request, within `layout.activate` of the devices."""
    call = _Call(parts, request, extras)
    try:
        return call.run()
    finally:
        call.turns.finish()


def sample_latents(
    parts: Parts, request: Request, extras: Extras
) -> tuple[jax.Array, jax.Array | None]:
    """Does what `sample_videos` does, up to the latents; also returns the references."""
    call = _Call(parts, request, extras)
    try:
        return call.latents()
    finally:
        call.turns.finish()


class _Call:
    """One call: each method runs one part of it."""

    def __init__(self, parts: Parts, request: Request, extras: Extras):
        self._parts, self._request, self._extras = parts, request, extras
        generates = extras.pictures_BHWC is None
        self._todo = request.parts(generates, extras.after)
        self.turns = Turns(parts.params, list(self._todo.values()))

    def run(self) -> list[Video]:
        return self._decode(*self.latents())

    def latents(self) -> tuple[jax.Array, jax.Array | None]:
        """Returns the latents `[B, F, H, W, Z]` and the references `[B, H, W, C]`."""
        inputs = self._encode() if "text" in self._todo else None
        reference_BHWC, latents_BFHWZ = self._reference(inputs), self._given()
        for name in self._todo:
            if name in ("text", "reference", "decoder"):
                continue
            assert inputs is not None  # these parts come with "text"
            self.turns.advance()
            if name == "temporal_sr":
                assert latents_BFHWZ is not None  # of the last stage
                latents_BFHWZ = self._super_resolve(inputs, latents_BFHWZ)
            else:
                stage = int(name.removeprefix("stage_"))
                latents_BFHWZ = self._stage(inputs, stage, reference_BHWC, latents_BFHWZ)
            self._keep(name, latents_BFHWZ)
        assert latents_BFHWZ is not None  # a request has at least one stage
        return latents_BFHWZ, reference_BHWC

    def _encode(self) -> _Inputs:
        self.turns.advance()
        request, images = self._request, self._parts.images
        count = len(request.prompts)
        keys_B, prompts = images.encode(request, self._extras.first)
        refines = request.rounds and request.options.refine
        return _Inputs(
            keys_B,
            prompts,
            images.encode_empty(count) if refines else None,
            self._put("fps", np.full(count, request.fps, np.float32)),
        )

    def _reference(self, inputs: _Inputs | None) -> jax.Array | None:
        """Returns the user's reference, an earlier call's, a new one, or None without one."""
        request, extras = self._request, self._extras
        if not request.options.use_reference:
            return None
        pictures_BHWC = extras.pictures_BHWC
        if pictures_BHWC is None and extras.given is not None and extras.after:
            pictures_BHWC = extras.given.load("reference")
        if pictures_BHWC is not None:
            reference_BHWC = self._put("reference", pictures_BHWC)
        else:
            assert inputs is not None  # a reference is made of encoded prompts
            self.turns.advance()
            with extras.report.part("reference image", request.steps[0]) as part:
                reference_BHWC = self._parts.cascade.sample_image(
                    self._parts.params,
                    inputs.prompts,
                    inputs.keys_B,
                    size=request.sizes[0],
                    tick=part.tick,
                    watch=self._watch("image"),
                    **request.sampling(0),
                )
                part.result = lambda: self._own(reference_BHWC)
        self._keep("reference", reference_BHWC)
        return reference_BHWC

    def _given(self) -> jax.Array | None:
        """Returns the latents of an earlier call from which this one goes on."""
        given, after = self._extras.given, self._extras.after
        if given is None or after in ("", "reference"):
            return None
        return self._put("latents", given.load(after))

    def _stage(
        self,
        inputs: _Inputs,
        stage: int,
        reference_BHWC: jax.Array | None,
        low_res_BFHWZ: jax.Array | None,
    ) -> jax.Array:
        request = self._request
        with self._extras.report.part(f"stage {stage}", request.steps[stage]) as part:
            latents_BFHWZ = self._parts.cascade.sample_stage(
                self._parts.params,
                stage,
                inputs.prompts,
                reference_BHWC,
                low_res_BFHWZ,
                inputs.fps_B,
                inputs.keys_B,
                request.num_frames,
                size=request.sizes[stage],
                exact_reference=request.options.exact_reference,
                tick=part.tick,
                watch=self._watch(f"stage_{stage}"),
                **request.sampling(stage),
            )
            part.result = lambda: self._own(latents_BFHWZ)
        return latents_BFHWZ

    def _super_resolve(self, inputs: _Inputs, latents_BFHWZ: jax.Array) -> jax.Array:
        request, parts = self._request, self._parts
        steps = request.refiner_steps
        with self._extras.report.part("temporal SR", steps) as part:
            latents_BFHWZ = parts.temporal_sr(
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
                tick=part.tick,
                watch=self._watch("refiner"),
            )
            part.result = lambda: self._own(latents_BFHWZ)
        return latents_BFHWZ

    def _decode(self, latents_BFHWZ: jax.Array, reference_BHWC: jax.Array | None) -> list[Video]:
        request, parts = self._request, self._parts
        self.turns.advance()
        decoder, total = request.options.decoder, request.final_num_frames
        with self._extras.report.part("decoding", total, "frame") as part:
            frames_BFHWC = parts.decoder(parts.params, latents_BFHWZ, decoder, part.tick)
        shown = None if reference_BHWC is None else sharding.to_host(reference_BHWC)
        if request.options.exact_reference and shown is not None:
            frames_BFHWC = with_first_frame(frames_BFHWC, shown, 2**request.rounds)
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

    def _put(self, name: str, array: np.ndarray) -> jax.Array:
        return sharding.put_whole_batch(self._parts.mesh, {name: array})[name]

    def _keep(self, name: str, result: jax.Array) -> None:
        if self._extras.keeps is not None:
            self._extras.keeps.save(name, result)

    def _watch(self, name: str) -> Watch | None:
        callback = self._extras.callback
        if callback is None:
            return None
        return lambda step, latents_BFHWZ: callback(name, step, self._own(latents_BFHWZ))

    def _own(self, filled: jax.Array) -> jax.Array:
        """Returns the part of the request's prompts, without those that fill up the devices."""
        count = len(self._request.prompts)
        return filled if len(filled) == count else filled[:count]
