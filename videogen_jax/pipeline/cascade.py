"""The reference image and the cascade of latent video models (§3.1, §3.2).

Every method takes parameters as an argument, `{component: tree}` with the names of a model
directory, so that training can draw samples from parameters that are not saved yet.

Letters: B samples, F frames, H height, W width, C = 3 colour channels, Z latent channels, T tokens.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.data.transforms import to_float
from videogen_jax.diffusion.process import noise_tables
from videogen_jax.models.text_encoder import TextEncoder, TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.conditioning import augment, reference_video, upsample
from videogen_jax.pipeline.decode import decode_frames, quantise, unit_range
from videogen_jax.pipeline.denoise import Denoiser, Held, Sampling, Tick, Watch
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.pipeline.network import Conditions, Params


class PromptStates(NamedTuple):
    """The encoded prompts, and the encoded negative prompts that guidance leads away from."""

    text: TextStates
    negative: TextStates


class Cascade:
    """Text encoder, image model and stages of `config`, each compiled once for a batch size."""

    def __init__(self, config: ModelConfig, dtype: DTypeLike = jnp.float32):
        def denoiser(part: DenoiserConfig) -> Denoiser:
            return Denoiser(part, config.latent_size(part.resolution), dtype)

        self.config = config
        self._image, self._stages = denoiser(config.image), tuple(map(denoiser, config.stages))
        self._dtype = dtype
        # Any: flax types the result of `apply` as a union.
        text_encoder: Any = TextEncoder(config.text_encoder, dtype)
        self._encode_text = jax.jit(lambda params, x: text_encoder.apply({"params": params}, x))
        self._decode_picture = jax.jit(self._picture, static_argnames="as_float")
        self._encode_images = jax.jit(self._encoded)
        self._condition = jax.jit(self._conditions, static_argnames=("stage", "num_frames", "size"))

    def encode_text(self, params: Mapping[str, Params], tokens_BT: jax.Array) -> TextStates:
        """Encodes token ids, int32 `[B, T]`."""
        return self._encode_text(params["text_encoder"], tokens_BT)

    def encode_prompts(
        self, params: Mapping[str, Params], tokens_BT: jax.Array, negative_BT: jax.Array
    ) -> PromptStates:
        """Encodes prompts and negative prompts, which are usually empty."""
        return PromptStates(
            self.encode_text(params, tokens_BT), self.encode_text(params, negative_BT)
        )

    def sample_image(
        self,
        params: Mapping[str, Params],
        prompts: PromptStates,
        keys_B: jax.Array,
        *,
        size: tuple[int, int] | None = None,
        latents_BHWZ: jax.Array | None = None,
        clean_BHWZ: jax.Array | None = None,
        strength: float = 1.0,
        free_BHW1: jax.Array | None = None,
        as_float: bool = False,
        tick: Tick | None = None,
        watch: Watch | None = None,
        **sampling: Unpack[Sampling],
    ) -> jax.Array:
        """Draws images (§3.1): uint8 `[B, H, W, 3]` of `size`, by default the model's resolution.

        The images are rounded to uint8 here because a picture that is saved and then passed as the
        reference must give the same video. With `as_float` they are float32 in [0, 1].

        With `clean_BHWZ`, the latents of images (`encode_images`), the share `strength` of the
        steps starts from these with noise. With `free_BHW1` too, which is True where the model
        decides, the others stay (inpainting). Other options and errors are those of
        `Denoiser.sample`.
        """
        clean_BFHWZ = None if clean_BHWZ is None else clean_BHWZ[:, None]
        held = None
        if free_BHW1 is not None and clean_BFHWZ is not None:
            held = Held(clean_BFHWZ, free_BHW1[:, None])
        latents_BFHWZ = self._image.sample(
            params["image_unet"],
            Conditions(prompts.text, prompts.negative),
            noise.fold_in(keys_B, 0),
            num_frames=1,
            size=None if size is None else self._latents(size),
            latents_BFHWZ=None if latents_BHWZ is None else latents_BHWZ[:, None],
            clean_BFHWZ=clean_BFHWZ if strength < 1.0 else None,
            strength=strength,
            held=held,
            tick=tick,
            watch=watch,
            **sampling,
        )
        return self.decode_pictures(params, latents_BFHWZ, as_float)

    def encode_images(self, params: Mapping[str, Params], images_BHWC: jax.Array) -> jax.Array:
        """Encodes uint8 images of a size that the networks can have: latents `[B, h, w, Z]`."""
        return self._encode_images(params["autoencoder"], images_BHWC)

    def decode_pictures(
        self, params: Mapping[str, Params], latents_BFHWZ: jax.Array, as_float: bool = False
    ) -> jax.Array:
        """Decodes the first frames of latents: uint8 `[B, H, W, 3]`, or float32 in [0, 1]."""
        return self._decode_picture(params["autoencoder"], latents_BFHWZ, as_float=as_float)

    def sample_stage(
        self,
        params: Mapping[str, Params],
        stage: int,
        prompts: PromptStates,
        reference_BHWC: jax.Array | None,
        low_res_BFHWZ: jax.Array | None,
        fps_B: jax.Array,
        keys_B: jax.Array,
        num_frames: int,
        *,
        size: tuple[int, int] | None = None,
        exact_reference: bool = False,
        tick: Tick | None = None,
        watch: Watch | None = None,
        **sampling: Unpack[Sampling],
    ) -> jax.Array:
        """Draws a stage's clip, conditioned on the reference and the previous stage's clip (§3.2).

        Args:
            params: `{component: parameters}` with `autoencoder` and `stage_<stage>`.
            stage: the stage's number, from 1.
            prompts: the result of `encode_prompts`.
            reference_BHWC: uint8, of the clip's aspect ratio and any resolution; None for a stage
                trained without one.
            low_res_BFHWZ: the latents of stage − 1; None for stage 1.
            fps_B: frames per second, float32.
            keys_B: keys from which all noise is drawn; the stage's number is folded in here.
            num_frames: F.
            size: height and width in pixels, by default the stage's resolution for both.
            exact_reference: whether the latents of frame 0 stay those of the reference.
            tick, watch: as for `Denoiser.sample`.
            **sampling: the other arguments of `Denoiser.sample`.

        Returns:
            Latents of the model space, float32 `[B, F, H, W, Z]`.

        Raises:
            UserError: as for `Denoiser.sample`.
        """
        keys_B = noise.fold_in(keys_B, stage)
        conditions = self._condition(
            params["autoencoder"],
            prompts,
            reference_BHWC,
            low_res_BFHWZ,
            fps_B,
            keys_B,
            stage=stage,
            num_frames=num_frames,
            size=size or (self.config.stages[stage - 1].resolution,) * 2,
        )
        held = None
        if exact_reference and conditions.reference_BFHWZ is not None:
            after_first_F = jnp.arange(num_frames) > 0
            held = Held(conditions.reference_BFHWZ, after_first_F[:, None, None, None])
        return self._stages[stage - 1].sample(
            params[f"stage_{stage}"],
            conditions,
            keys_B,
            num_frames,
            held=held,
            tick=tick,
            watch=watch,
            **sampling,
        )

    def _picture(self, params: Params, latents_BFHWZ: jax.Array, as_float: bool) -> jax.Array:
        pixels_BFHWC = decode_frames(self.config.autoencoder, params, latents_BFHWZ, self._dtype)
        pixels_BHWC = pixels_BFHWC[:, 0]
        return unit_range(pixels_BHWC) if as_float else quantise(pixels_BHWC)

    def _conditions(
        self,
        params: Params,
        prompts: PromptStates,
        reference_BHWC: jax.Array | None,
        low_res_BFHWZ: jax.Array | None,
        fps_B: jax.Array,
        keys_B: jax.Array,
        stage: int,
        num_frames: int,
        size: tuple[int, int],
    ) -> Conditions:
        config = self.config.stages[stage - 1]
        reference_BHWZ = self._reference_latents(params, reference_BHWC, size, len(fps_B))
        levels_B = jnp.full(fps_B.shape, config.low_res_noise, jnp.int32)
        if low_res_BFHWZ is not None:
            low_res_BFHWZ = upsample(low_res_BFHWZ)
            draws_BFHWZ = noise.normal(
                noise.fold_in(keys_B, noise.LOW_RES), low_res_BFHWZ.shape[1:]
            )
            tables = noise_tables(config.schedule)
            low_res_BFHWZ = augment(tables, low_res_BFHWZ, levels_B, draws_BFHWZ)
        return Conditions(
            prompts.text,
            prompts.negative,
            reference_video(reference_BHWZ, num_frames),
            low_res_BFHWZ,
            fps_B,
            levels_B,
        )

    def _reference_latents(
        self,
        params: Params,
        reference_BHWC: jax.Array | None,
        size: tuple[int, int],
        prompts: int,
    ) -> jax.Array:
        """Encodes the reference at the stage's pixels, `[B, H, W, Z]`; zeros without one."""
        if reference_BHWC is None:
            channels = self.config.autoencoder.latent_channels
            return jnp.zeros((prompts, *self._latents(size), channels))
        return self._encoded(params, reference_BHWC, size)

    def _encoded(
        self, params: Params, images_BHWC: jax.Array, size: tuple[int, int] | None = None
    ) -> jax.Array:
        video_BFHWC = to_float(images_BHWC)[:, None]
        size = size or (images_BHWC.shape[1], images_BHWC.shape[2])
        autoencoder = {"autoencoder": params}
        return encode_frames(self.config, autoencoder, video_BFHWC, size, self._dtype)[:, 0]

    def _latents(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns height and width of the latents of pixels."""
        return self.config.latent_size(size[0]), self.config.latent_size(size[1])
