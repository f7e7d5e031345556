"""`VideoGen`: from prompts to videos, every part of the paper's Figure 2 in order.

Letters: B prompts, F frames, H height, W width, C = 3 colour channels, Z latent channels, T tokens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from videogen_jax import sharding
from videogen_jax.config import ModelConfig
from videogen_jax.data.tokenizer import Tokenizer, load_tokenizer
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.components import init_components, load_components
from videogen_jax.pipeline.decode import FrameDecoder
from videogen_jax.pipeline.denoise import Params
from videogen_jax.pipeline.progress import bar
from videogen_jax.pipeline.references import Reference, load_references
from videogen_jax.pipeline.request import Options, Request, make_request
from videogen_jax.pipeline.temporal_sr import TemporalSR
from videogen_jax.pipeline.video import Video

_ASSETS = Path(__file__).parent.parent / "assets"


class VideoGen:
    """A whole model: text encoder, image model, stages, temporal super-resolution, decoders.

        model = VideoGen.load("shapes")
        video = model("a red circle moving left", seed=0)
        video.save("out.mp4")

    The first call compiles for its number of prompts, frames and stages; calls that differ only in
    prompts, reference, seed, steps, guidance or fps do not compile again.

    Args:
        config: the configuration.
        params: `{component: parameters}` with the names of a model directory; those that a call
            needs must be there by then.
        tokenizer: of the text encoder's vocabulary.
        mesh: devices that share the prompts of a call, whose number they must divide; the first
            device alone by default. A video does not depend on it.
        dtype: that networks compute in; parameters stay as they are.
        directory: where `params` were read from, for messages.

    Raises:
        ValueError: the tokenizer is of another vocabulary than the text encoder.
    """

    def __init__(
        self,
        config: ModelConfig,
        params: Mapping[str, Params],
        tokenizer: Tokenizer,
        *,
        mesh: Mesh | None = None,
        dtype: DTypeLike = jnp.float32,
        directory: Path | None = None,
    ):
        text = config.text_encoder
        if (tokenizer.vocab_size, tokenizer.end_id) != (text.vocab_size, text.eos_token_id):
            raise ValueError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, end-of-text {tokenizer.end_id}; "
                f"the text encoder {text.vocab_size}, end-of-text {text.eos_token_id}"
            )
        one_device = sharding.MeshConfig(), jax.devices()[:1]
        self._mesh = sharding.make_mesh(*one_device) if mesh is None else mesh
        self.config, self.tokenizer = config, tokenizer
        self.params = jax.device_put(
            dict(params), sharding.tree_shardings(self._mesh, dict(params))
        )
        self._directory = directory
        self.cascade = Cascade(config, dtype)
        self.temporal_sr = TemporalSR(config, dtype)
        self.decoder = FrameDecoder(config.autoencoder, dtype)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        mesh: Mesh | None = None,
        dtype: DTypeLike = jnp.float32,
    ) -> "VideoGen":
        """Loads a model by the name of one that ships, or from a model directory.

        Raises:
            FileNotFoundError: there is no such model (lists those that ship), or its configuration
                or tokenizer is missing.
            ValueError: a file is damaged, has an unknown field, or does not fit the configuration;
                names it.
        """
        # Here, so that `import videogen_jax` needs no safetensors.
        from videogen_jax.weights.config_file import load_config

        directory = _find_model(model)
        config = load_config(directory / "config.json", ModelConfig)
        tokenizer = load_tokenizer(directory / "tokenizer")
        params = load_components(directory, config)
        return cls(config, params, tokenizer, mesh=mesh, dtype=dtype, directory=directory)

    @classmethod
    def untrained(cls, config: ModelConfig, tokenizer: Tokenizer, seed: int = 0) -> "VideoGen":
        """A model with fresh parameters, which makes noise: to try out sizes and speed."""
        return cls(config, init_components(config, jax.random.key(seed)), tokenizer)

    @overload
    def __call__(
        self,
        prompt: str,
        *,
        reference: Reference | None = None,
        progress: bool = False,
        **options: Unpack[Options],
    ) -> Video: ...

    @overload
    def __call__(
        self,
        prompt: list[str] | tuple[str, ...],
        *,
        reference: Reference | Sequence[Reference] | None = None,
        progress: bool = False,
        **options: Unpack[Options],
    ) -> list[Video]: ...

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        reference: Reference | Sequence[Reference] | None = None,
        progress: bool = False,
        **options: Unpack[Options],
    ) -> Video | list[Video]:
        """Makes a video of a prompt, or a list of videos of a list of prompts.

        Args:
            prompt: one text, or a list of texts that are sampled together. A video does not depend
                on what it is batched with, but on its place: place 0 is also that of one text.
            reference: image file or uint8 array `[H, W, 3]` of any size in place of a generated
                image (§3.1); one for all prompts or a list of one for each.
            progress: shows bars over steps and frames.
            **options: seed, steps, guidance and so on, see `Options`.

        Raises:
            ValueError: an argument is out of its range, or a reference is not an image.
            FileNotFoundError: no such reference, or the model lacks a component that this call
                needs.
        """
        request = make_request(self.config, prompt, **options)
        self._check_components(request, generates_reference=reference is None)
        pictures_BHWC = None
        if reference is not None:
            size = self.config.image.resolution
            pictures_BHWC = load_references(reference, len(request.prompts), size)
        videos = self._sample(request, pictures_BHWC, progress)
        return videos[0] if isinstance(prompt, str) else videos

    def _sample(
        self, request: Request, pictures_BHWC: np.ndarray | None, progress: bool
    ) -> list[Video]:
        batch = self._batch(request)
        keys_B = noise.sample_keys(np.uint32(request.seed), batch["sample"])
        prompts = self.cascade.encode_prompts(self.params, batch["tokens"], batch["negative"])
        if pictures_BHWC is None:
            reference_BHWC = self._sample_image(request, prompts, keys_B, progress)
        else:
            reference_BHWC = self._put({"reference": pictures_BHWC})["reference"]
        latents_BFHWZ = self._sample_stages(
            request, prompts, reference_BHWC, batch["fps"], keys_B, progress
        )
        if request.rounds:
            latents_BFHWZ = self._super_resolve(request, latents_BFHWZ, batch, keys_B, progress)
        with bar(progress, "decoding", request.final_num_frames, "frame") as tick:
            frames_BFHWC = self.decoder(self.params, latents_BFHWZ, request.decoder, tick)
        references_BHWC = np.asarray(reference_BHWC)
        return [
            Video(frames, request.final_fps, text, picture, request.seed)
            for frames, text, picture in zip(
                frames_BFHWC, request.prompts, references_BHWC, strict=True
            )
        ]

    def _batch(self, request: Request) -> dict[str, jax.Array]:
        """What a call is about as arrays, split over the devices."""
        count, length = len(request.prompts), self.config.text_encoder.max_length
        texts = [*request.prompts, request.negative_prompt, ""]
        *tokens, negative_T, empty_T = self.tokenizer(texts, max_length=length)
        return self._put(
            {
                "tokens": np.stack(tokens),
                "negative": np.stack([negative_T] * count),
                "empty": np.stack([empty_T] * count),
                "fps": np.full(count, request.fps, np.float32),
                "sample": np.arange(count, dtype=np.int32),
            }
        )

    def _put(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        return sharding.put_batch(self._mesh, batch)

    def _sample_image(
        self, request: Request, prompts: PromptStates, keys_B: jax.Array, progress: bool
    ) -> jax.Array:
        steps, scale = request.steps[0], request.guidance[0]
        with bar(progress, "reference image", steps, "step") as tick:
            return self.cascade.sample_image(
                self.params, prompts, keys_B, steps=steps, guidance_scale=scale, tick=tick
            )

    def _sample_stages(
        self,
        request: Request,
        prompts: PromptStates,
        reference_BHWC: jax.Array,
        fps_B: jax.Array,
        keys_B: jax.Array,
        progress: bool,
    ) -> jax.Array:
        latents_BFHWZ: jax.Array | None = None
        for stage in range(1, request.stages + 1):
            steps, scale = request.steps[stage], request.guidance[stage]
            with bar(progress, f"stage {stage}", steps, "step") as tick:
                latents_BFHWZ = self.cascade.sample_stage(
                    self.params,
                    stage,
                    prompts,
                    reference_BHWC,
                    latents_BFHWZ,
                    fps_B,
                    keys_B,
                    request.num_frames,
                    steps=steps,
                    guidance_scale=scale,
                    tick=tick,
                )
        assert latents_BFHWZ is not None  # a request has at least one stage
        return latents_BFHWZ

    def _super_resolve(
        self,
        request: Request,
        latents_BFHWZ: jax.Array,
        batch: dict[str, jax.Array],
        keys_B: jax.Array,
        progress: bool,
    ) -> jax.Array:
        steps = request.steps[-1]
        total = steps * (2**request.rounds - 1)
        with bar(progress and request.refine, "temporal SR", total, "step") as tick:
            return self.temporal_sr(
                self.params,
                latents_BFHWZ,
                batch["fps"],
                self.cascade.encode_text(self.params, batch["empty"]),
                noise.fold_in(keys_B, len(self.config.stages) + 1),
                request.rounds,
                interpolation=request.interpolation,
                refine=request.refine,
                steps=steps,
                tick=tick,
            )

    def _check_components(self, request: Request, generates_reference: bool) -> None:
        """Raises FileNotFoundError for a component that the call needs and the model has not."""
        needed = {"text_encoder": "every call", "autoencoder": "every call"}
        if generates_reference:
            needed["image_unet"] = "a call without a reference image"
        needed |= {f"stage_{i}": f"stage {i}" for i in range(1, request.stages + 1)}
        if request.rounds and request.interpolation == "flow":
            needed["flow"] = "temporal_sr with interpolation='flow'"
        if request.rounds and request.refine:
            needed["refiner"] = "temporal_sr with refine=True"
        if request.decoder == "video":
            needed["video_decoder"] = "decoder='video'"
        for name, what in needed.items():
            if name not in self.params:
                file = f"{name}.safetensors"
                where = "the parameters" if self._directory is None else str(self._directory)
                raise FileNotFoundError(f"{where}: there is no {file}, which {what} needs")


def _find_model(model: str | Path) -> Path:
    """The directory of a model that ships or of the user's; names come before directories."""
    shipped = sorted(path.parent.name for path in _ASSETS.glob("*/config.json"))
    if model in shipped:
        return _ASSETS / model
    if not Path(model).is_dir():
        raise FileNotFoundError(
            f"no model {str(model)!r}: neither a model directory nor one of those that ship, "
            f"which are: {', '.join(shipped) or 'none'}"
        )
    return Path(model)
