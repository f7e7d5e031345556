"""Images from prompts, with the text encoder and the image model alone (§3.1).

Letters: B prompts, H height, W width, C = 3 colour channels, T tokens; h height and w width of the
latents, Z latent channels.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Unpack

import jax
import numpy as np
from jax.sharding import Mesh

from videogen_jax import layout, sharding
from videogen_jax.diffusion.samplers import first_step
from videogen_jax.media.masks import Mask
from videogen_jax.media.references import Reference
from videogen_jax.models.components import IMAGE_COMPONENTS, require_components
from videogen_jax.models.text_encoder import TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.denoise import Params
from videogen_jax.pipeline.image_start import Start, load_start
from videogen_jax.pipeline.interrupts import interruptible
from videogen_jax.pipeline.placement import Turns
from videogen_jax.pipeline.progress import bar
from videogen_jax.pipeline.requests.checks import check_progress, check_switch
from videogen_jax.pipeline.requests.image import ImageRequest, make_image_request
from videogen_jax.pipeline.requests.keywords import ImageKeywords
from videogen_jax.pipeline.requests.options import ImageOptions, shows_options
from videogen_jax.pipeline.requests.video import Request
from videogen_jax.tokenizer import Tokenizer


class Encoded(NamedTuple):
    """The random keys `[B]` of a call's samples, and its encoded prompts."""

    keys_B: jax.Array
    prompts: PromptStates


class TextToImage:
    """The text-to-image model, available as `VideoGen.images`.

        model = VideoGen.load(MODEL_DIR)
        pictures = model.images(["a red circle", "a ring"], seed=0, sampler="dpmpp_2m")

    A call that differs from an earlier one in prompts, seed, steps, guidance or sampler does not
    compile again. Samplers that draw noise and samplers that do not compile once each; so do steps
    with guidance and steps without, which are all at a guidance of 1.

    Args:
        cascade: the cascade with the image model.
        params: `{component: parameters}`; a call needs `text_encoder`, `image_unet` and
            `autoencoder`.
        tokenizer: a tokenizer with the text encoder's vocabulary.
        mesh: devices that share the prompts of a call.
        directory: where `params` were read from, for error messages.
    """

    def __init__(
        self,
        cascade: Cascade,
        params: Mapping[str, Params],
        tokenizer: Tokenizer,
        mesh: Mesh,
        directory: Path | None = None,
    ):
        self._cascade, self._params, self._tokenizer = cascade, params, tokenizer
        self._mesh, self._directory = mesh, directory

    @shows_options(ImageOptions)
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        image: Reference | Sequence[Reference] | None = None,
        mask: Mask | None = None,
        latents: np.ndarray | None = None,
        as_float: bool = False,
        progress: bool | None = None,
        callback: Callable[[str, int, jax.Array], object] | None = None,
        options: ImageOptions | None = None,
        **overrides: Unpack[ImageKeywords],
    ) -> np.ndarray:
        """Makes an image of each prompt.

        With the same prompt and seed, `VideoGen` uses the same image as the reference of its video.

        Args:
            prompt: one text, or a list of texts that are sampled together. An image depends on its
                position in the list (a single text has position 0), not on the other prompts.
            image: image file or uint8 array `[H, W, 3]` of any size to start from, with noise
                (SDEdit, Meng et al. 2022); one for all prompts, or a list with one for each.
            mask: image file, or bool or uint8 array `[H, W]` of any size: where it is white, the
                image is painted anew; elsewhere it stays as it is, to the pixel.
            latents: the noise to start from, float32 `[B, h, w, Z]`, standard normal, one for each
                prompt; by default drawn from the seed. It is in the sampler's variance-preserving
                coordinates, before the multiplication by `Plan.init_scale` (1 for "leading"
                spacing). diffusers' `latents=`, which its pipeline multiplies by
                `init_noise_sigma`, are the same numbers with channels first, `[B, Z, h, w]`.
            as_float: whether to return float32 in [0, 1] instead of uint8.
            progress: whether to show a progress bar over the steps; by default on a terminal and in
                a notebook.
            callback: as for `VideoGen`, called with "image", the step and its latents.
            options: the options, by default `ImageOptions()`.
            **overrides: options by name, such as `seed=1`; they take precedence over `options`.

        Returns:
            `[B, H, W, 3]`, with B = 1 for one text.

        Raises:
            TypeError: an option name is unknown; lists the valid names.
            UserError: an argument is out of its range.
            MissingFile: the model lacks one of the three components.
        """
        check_progress(progress)
        check_switch("as_float", as_float)
        request = make_image_request(
            self._cascade.config,
            prompt,
            options,
            latents=latents,
            has_image=image is not None,
            has_mask=mask is not None,
            **overrides,
        )
        needed = dict.fromkeys(map(str, IMAGE_COMPONENTS), "text to image")
        require_components(self._params, needed, self._directory)
        start = None if image is None else load_start(image, mask, request)
        turns = Turns(self._params, (("text_encoder",), ("image_unet", "autoencoder")))
        try:
            pictures = self._sample(request, start, turns, as_float, progress, callback)
        finally:
            turns.finish()
        return pictures if start is None else start.within_mask(pictures)

    def _sample(
        self,
        request: ImageRequest,
        start: Start | None,
        turns: Turns,
        as_float: bool,
        progress: bool | None,
        callback: Callable[[str, int, jax.Array], object] | None,
    ) -> np.ndarray:
        count = len(request.prompts)

        def watch(step: int, latents_BFHWZ: jax.Array) -> None:
            if callback is not None:
                callback("image", step, latents_BFHWZ[:count])

        turns.advance()
        encoded = self.encode(request)
        turns.advance()
        steps = request.steps - first_step(request.steps, request.strength)
        with (
            interruptible(),
            layout.activate(self._mesh),
            bar(progress, "text to image", steps, "step") as tick,
        ):
            clean_BHWZ = free_BHW1 = None
            if start is not None:
                pictures_BHWC = self._put("image", start.pictures_BHWC)
                clean_BHWZ = self._cascade.encode_images(self._params, pictures_BHWC)
                if start.mask_HW is not None:
                    free_BHW1 = self._put("free", start.free(self._cascade.config))
            latents_BHWZ = request.latents_BHWZ
            pictures_BHWC = self._cascade.sample_image(
                self._params,
                encoded.prompts,
                encoded.keys_B,
                steps=request.steps,
                guidance_scale=request.guidance,
                guidance_rescale=request.options.guidance_rescale,
                guidance_interval=request.options.guidance_interval,
                guidance_passes=request.options.guidance_passes,
                sampler=request.sampler,
                size=request.size,
                latents_BHWZ=None if latents_BHWZ is None else self._put("latents", latents_BHWZ),
                clean_BHWZ=clean_BHWZ,
                strength=request.strength,
                free_BHW1=free_BHW1,
                as_float=as_float,
                tick=tick,
                watch=watch,
            )
        return sharding.to_host(pictures_BHWC)[:count]

    def encode(self, request: ImageRequest | Request, first: int = 0) -> Encoded:
        """Tokenises and encodes prompts and negative prompts, sharded over the devices.

        Where the devices do not divide them, the last one is repeated, as in `put_whole_batch`.
        The first prompt has position `first` in its list, on which its noise depends.
        A text that is too long is truncated, with a warning that quotes the truncated part.
        """
        count, length = len(request.prompts), self._cascade.config.text_encoder.max_length
        negatives = list(dict.fromkeys(request.negative_prompts))  # a long one is reported once
        rows = [count + negatives.index(text) for text in request.negative_prompts]
        tokens_BT = self._tokenizer([*request.prompts, *negatives], max_length=length)
        batch = {
            "tokens": tokens_BT[:count],
            "negative": tokens_BT[rows],
            "sample": np.arange(first, first + count, dtype=np.int32),
        }
        if not isinstance(request.options.seed, int):
            batch["seed"] = np.array(request.seeds, np.uint32)
        batch = sharding.put_whole_batch(self._mesh, batch)
        return Encoded(
            noise.seed_keys(batch["seed"])
            if "seed" in batch
            else noise.sample_keys(np.uint32(request.seeds[0]), batch["sample"]),
            self._cascade.encode_prompts(self._params, batch["tokens"], batch["negative"]),
        )

    def encode_empty(self, count: int) -> TextStates:
        """Encodes the empty prompt of `count` samples, sharded over the devices."""
        tokens_BT = self._tokenizer([""] * count, self._cascade.config.text_encoder.max_length)
        tokens_BT = sharding.put_whole_batch(self._mesh, {"tokens": tokens_BT})["tokens"]
        return self._cascade.encode_text(self._params, tokens_BT)

    def _put(self, name: str, array: np.ndarray) -> jax.Array:
        return sharding.put_whole_batch(self._mesh, {name: array})[name]
