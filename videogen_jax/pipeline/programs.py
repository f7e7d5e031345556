"""The programs that a call of `VideoGen` compiles, for arrays that are only shapes.

They are the compiled functions of the pipeline's classes, traced for the shapes and shardings that
`chain.sample_videos` gives them. Small ones, such as the drawing of noise, are left out.

Letters: B prompts, F frames, M = F − 1 missing frames, H height, W width, Z latent channels,
T tokens, C = 3 colour channels.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from videogen_jax import layout, sharding
from videogen_jax.config import ModelConfig
from videogen_jax.diffusion.guidance import GuidancePasses, step_ranges
from videogen_jax.diffusion.samplers import SamplerState, loop_config
from videogen_jax.pipeline import denoise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.decode import OVERLAP, WINDOW, FrameDecoder, window_starts
from videogen_jax.pipeline.denoise import Denoiser
from videogen_jax.pipeline.network import Conditions, Params, Prepared, laid_out
from videogen_jax.pipeline.requests.video import Request
from videogen_jax.pipeline.temporal_sr import TemporalSR


class Program(NamedTuple):
    """A program of a call.

    Attributes:
        name: what it does.
        component: the component whose parameters it takes.
        turn: which of `Request.turns` it belongs to.
        runs: how often the call runs it.
        traced: the traced function, to be lowered and compiled.
    """

    name: str
    component: str
    turn: int
    runs: int
    traced: Any


class Shapes:
    """Shapes of arrays on the devices of a mesh, as the pipeline lays them out.

    Args:
        mesh: the devices.
        count: B, filled up to what the devices divide.
    """

    def __init__(self, mesh: Mesh, count: int):
        shares = mesh.shape["data"] * mesh.shape["fsdp"]
        self.mesh, self.count = mesh, -(-count // shares) * shares

    # Any: they stand for arrays, in the fields of arrays.
    def batch(self, *shape: int, dtype: Any = jnp.float32) -> Any:
        """Returns an array `[B, *shape]` that devices share by prompts."""
        where = sharding.batch_sharding(self.mesh)
        return jax.ShapeDtypeStruct((self.count, *shape), dtype, sharding=where)

    def state(self, *shape: int) -> SamplerState:
        """Returns a sampler's state `[B, F, H, W, Z]`, as `Denoiser` lays it out."""
        whole = (self.count, *shape)
        spec = layout.partition(whole, "batch frames rows . .", self.mesh.shape)
        where = NamedSharding(self.mesh, spec)
        x: Any = jax.ShapeDtypeStruct(whole, jnp.float32, sharding=where)
        return SamplerState(x, x)

    def keys(self) -> Any:
        """Returns the samples' keys."""
        return self.batch(dtype=jax.eval_shape(lambda: jax.random.key(0)).dtype)

    def everywhere(self, tree: Any) -> Any:
        """Returns the shapes of a tree of small arrays that every device has."""
        where = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=where), tree
        )

    def prepared(self, prepared: Prepared, passes: GuidancePasses | None) -> Prepared:
        """Returns what a network takes in every step, as `Network.prepare` lays it out."""

        def place(x: Any, names: str) -> Any:
            spec = layout.partition(x.shape, names, self.mesh.shape)
            where = NamedSharding(self.mesh, spec)
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

        return laid_out(place, prepared, passes)


class CallPrograms:
    """The programs of a call, traced one after the other within `layout.activate` of the mesh.

    Args:
        config: the model's configuration.
        request: the call.
        params: `{component: shapes with shardings}` of the parameters.
        mesh: the devices.
        dtype: type of the networks' computation.
    """

    def __init__(
        self,
        config: ModelConfig,
        request: Request,
        params: Mapping[str, Params],
        mesh: Mesh,
        dtype: Any,
    ):
        self._config, self._request, self._params = config, request, params
        self._dtype, self._shapes = dtype, Shapes(mesh, len(request.prompts))
        self._cascade, self._sr = Cascade(config, dtype), TemporalSR(config, dtype)
        tokens = self._shapes.batch(config.text_encoder.max_length, dtype=jnp.int32)
        self._tokens = tokens
        states = jax.eval_shape(self._cascade._encode_text, params["text_encoder"], tokens)
        self._text = jax.tree.map(lambda x: self._shapes.batch(*x.shape[1:], dtype=x.dtype), states)

    def __call__(self, generates_reference: bool) -> Iterator[Program]:
        """Yields the programs in the order of the call."""
        encode = self._cascade._encode_text.trace(self._params["text_encoder"], self._tokens)
        yield Program("text encoder", "text_encoder", 0, 2, encode)
        turn = 1
        if generates_reference:
            yield from self._image(turn)
            turn += 1
        for stage in range(1, self._request.stages + 1):
            yield from self._stage(stage, turn)
            turn += 1
        if self._request.rounds:
            yield from self._temporal_sr(turn)
            turn += 1
        yield self._decoding(turn)

    def _image(self, turn: int) -> Iterator[Program]:
        latents = self._latents(0)
        given = Conditions(self._text, self._text)
        yield from self._steps("image model", self._cascade._image, 0, turn, given, (1, *latents))
        decoded = self._cascade._decode_picture.trace(
            self._params["autoencoder"], self._shapes.state(1, *latents).x, as_float=False
        )
        yield Program("image decoder", "autoencoder", turn, 1, decoded)

    def _stage(self, stage: int, turn: int) -> Iterator[Program]:
        request, shapes, frames = self._request, self._shapes, self._request.num_frames
        low_res = shapes.state(frames, *self._latents(stage - 1)).x if stage > 1 else None
        reference = shapes.batch(*request.sizes[0], 3, dtype=jnp.uint8)
        conditioned = self._cascade._condition.trace(
            self._params["autoencoder"],
            PromptStates(self._text, self._text),
            reference if request.options.use_reference else None,
            low_res,
            shapes.batch(),
            shapes.keys(),
            stage=stage,
            num_frames=frames,
            size=request.sizes[stage],
        )
        yield Program(f"stage {stage}, conditions", "autoencoder", turn, 1, conditioned)
        clip = shapes.batch(frames, *self._latents(stage))
        given = Conditions(
            self._text,
            self._text,
            clip,
            clip if stage > 1 else None,
            shapes.batch(),
            shapes.batch(dtype=jnp.int32),
        )
        denoiser, shape = self._cascade._stages[stage - 1], (frames, *self._latents(stage))
        yield from self._steps(f"stage {stage}", denoiser, stage, turn, given, shape)

    def _temporal_sr(self, turn: int) -> Iterator[Program]:
        request, shapes = self._request, self._shapes
        pieces, missing = 2**request.rounds - 1, request.num_frames - 1
        latents = self._latents(request.stages)
        if request.options.interpolation == "flow":
            clip = shapes.state(request.num_frames, *latents).x
            flow = self._sr._interpolate["flow"].trace(self._params["flow"], clip)
            yield Program("flow", "flow", turn, pieces, flow)
        if request.options.refine:
            middle = shapes.batch(missing, *latents)
            level = shapes.batch(dtype=jnp.int32)
            given = Conditions(self._text, None, middle, middle, shapes.batch(), level)
            step = self._step(self._sr._refiner, -1, given, (missing, *latents), guides=False)
            yield Program("refiner, a step", "refiner", turn, request.refiner_steps, step)

    def _decoding(self, turn: int) -> Program:
        request = self._request
        window = min(WINDOW, request.final_num_frames)
        runs = len(window_starts(request.final_num_frames, window, OVERLAP))
        which = request.options.decoder
        component = {"video": "video_decoder", "image": "autoencoder"}[which]
        clip = self._shapes.state(window, *self._latents(request.stages)).x
        decoder = FrameDecoder(self._config.autoencoder, self._dtype)
        traced = decoder._decode[which].trace(self._params[component], clip)
        return Program(f"{which} decoder, {window} frames", component, turn, runs, traced)

    def _steps(
        self,
        name: str,
        denoiser: Denoiser,
        part: int,
        turn: int,
        given: Conditions,
        shape: tuple[int, ...],
    ) -> Iterator[Program]:
        """Yields a step of the image model (`part` 0) or a stage, with guidance and without."""
        request, steps = self._request, self._request.steps[part]
        config = replace(denoiser.config, sampler=request.samplers[part])
        table, interval = denoise.sampling_plan(config, steps), request.options.guidance_interval
        ranges = step_ranges(table, 0, steps, request.guidance[part], interval)
        runs: Counter[bool] = Counter()
        for start, stop, guides in ranges:
            runs[guides] += stop - start
        for guides, count in sorted(runs.items(), reverse=True):
            step = self._step(denoiser, part, given, shape, guides)
            kind = "a step" if guides or len(runs) == 1 else "an unguided step"
            yield Program(f"{name}, {kind}", self._component(part), turn, count, step)

    def _step(
        self,
        denoiser: Denoiser,
        part: int,
        given: Conditions,
        shape: tuple[int, ...],
        guides: bool,
    ) -> Any:
        """Traces a step of the image model (`part` 0), a stage or the refiner (−1)."""
        options, shapes = self._request.options, self._shapes
        passes = options.guidance_passes if guides else None
        table = denoise.sampling_plan(denoiser.config, denoiser.config.sampler.num_steps)
        rescale = np.float32(options.guidance_rescale) if options.guidance_rescale else None
        guidance = denoise.Guidance(np.float32(1), rescale) if guides else None
        params = self._params[self._component(part)]
        prepare = functools.partial(denoiser._prepare, num_frames=shape[0], passes=passes)
        prepared, embedded_TD = jax.eval_shape(prepare, params, given, table)
        return denoiser._take_steps.trace(
            params,
            shapes.prepared(prepared, passes),
            shapes.everywhere(table._replace(timesteps_T=embedded_TD)),
            shapes.keys(),
            shapes.everywhere(guidance),
            shapes.state(*shape),
            0,
            1,
            loop=loop_config(self._request.samplers[part]),
            passes=passes,
        )

    def _component(self, part: int) -> str:
        """Returns the component of the image model (`part` 0), a stage or the refiner (−1)."""
        return {0: "image_unet", -1: "refiner"}.get(part, f"stage_{part}")

    def _latents(self, part: int) -> tuple[int, int, int]:
        """Returns height, width and channels of the latents of the image model or a stage."""
        height, width = map(self._config.latent_size, self._request.sizes[part])
        return height, width, self._config.autoencoder.latent_channels
