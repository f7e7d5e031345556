"""`VideoGen`: videos and images from prompts, with every part of the paper's Figure 2.

Letters: B prompts, F frames, H height, W width, C = 3 colour channels, Z latent channels, T tokens.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from videogen_jax import layout, sharding
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.media.references import Reference, load_references
from videogen_jax.media.video import Video
from videogen_jax.models.components import IMAGE_COMPONENTS, init_components, require_components
from videogen_jax.models.warm_start import warm_start_model
from videogen_jax.pipeline.cascade import Cascade
from videogen_jax.pipeline.chain import Callback, Extras, Parts, sample_videos
from videogen_jax.pipeline.decode import DecoderName, FrameDecoder
from videogen_jax.pipeline.denoise import Params
from videogen_jax.pipeline.describe import describe_model
from videogen_jax.pipeline.interrupts import interruptible
from videogen_jax.pipeline.kept_latents import KeptLatents, PathLike, given_latents
from videogen_jax.pipeline.long_video import LongVideo
from videogen_jax.pipeline.model_files import load_model, save_model
from videogen_jax.pipeline.own_video.codec import FrameCodec
from videogen_jax.pipeline.own_video.interpolate import Interpolate
from videogen_jax.pipeline.own_video.restore import Restore
from videogen_jax.pipeline.placement import OffloadedParams, dtype_name, place
from videogen_jax.pipeline.progress import Report, Reporter
from videogen_jax.pipeline.requests.checks import check_choice, check_progress, check_switch
from videogen_jax.pipeline.requests.keywords import VideoKeywords
from videogen_jax.pipeline.requests.options import VideoOptions, shows_options
from videogen_jax.pipeline.requests.video import make_request
from videogen_jax.pipeline.temporal_sr import TemporalSR
from videogen_jax.pipeline.text_to_image import TextToImage
from videogen_jax.tokenizer import Tokenizer

if TYPE_CHECKING:
    from videogen_jax.weights.model_dir import DType

_log = logging.getLogger(__name__)


class VideoGen:
    """A whole model: text encoder, image model, stages, temporal super-resolution, decoders.

        model = VideoGen.load("shapes")
        model("a red circle moving left", seed=0).save("out.mp4")
        pictures = model.images(["a red circle", "a blue ring"])  # uint8 [2, H, W, 3]

    The first call compiles for its number of prompts, frames and stages; calls that differ only in
    prompts, reference, seed, steps, guidance or fps do not compile again; a guidance of 1, which
    leaves out half of the work, compiles once more. Later processes find the compiled programs on
    disk: see `compilation.enable_compilation_cache`. `images` is a
    `TextToImage`, the image model alone, which needs no video component. `long` makes videos of
    several clips: see `LongVideo`. `interpolate` and `restore` take the user's own videos: see
    `Interpolate` and `Restore`.

    Args:
        config: the configuration.
        params: `{component: parameters}` with the names of a model directory. Components that a
            call does not need may be missing.
        tokenizer: a tokenizer with the text encoder's vocabulary.
        mesh: a mesh of `sharding.make_mesh`; by default the first device alone. Devices along
            `data` and `fsdp` share the prompts of a call, and those along `frames` each clip, of
            which they must divide the frames. Devices along `fsdp` also share the parameters, with
            those along `frames` where there are several along `fsdp`. A video does not depend on
            the mesh. Of several processes, each makes the same calls and gets all results.
        dtype: type of the parameters and of the networks' computation: float32, bfloat16 or
            float16.
        offload: whether parameters stay in the host's memory; those of a component are on the
            devices only while it is used, and move there while the one before it computes.
        directory: where `params` were read from, for error messages.

    Raises:
        UserError: the tokenizer and the text encoder differ in vocabulary, or there is no such
            type.
    """

    def __init__(
        self,
        config: ModelConfig,
        params: Mapping[str, Params],
        tokenizer: Tokenizer,
        *,
        mesh: Mesh | None = None,
        dtype: DTypeLike = jnp.float32,
        offload: bool = False,
        directory: Path | None = None,
    ):
        text = config.text_encoder
        if problem := tokenizer.misfit(text.vocab_size, text.eos_token_id):
            raise UserError(problem)
        self._mesh = mesh or sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
        self.config, self.tokenizer = config, tokenizer
        self._directory, self._dtype = directory, dtype
        dtype = np.dtype(dtype_name(dtype))
        check_switch("offload", offload)
        # Here and not on import, which changes nothing, nor in `load`: every model compiles.
        enable_compilation_cache()
        self.params: Mapping[str, Params] = (
            OffloadedParams(self._mesh, params, dtype)
            if offload
            else {name: place(self._mesh, tree, dtype) for name, tree in params.items()}
        )
        self.cascade = Cascade(config, dtype)
        self.temporal_sr = TemporalSR(config, dtype)
        self.decoder = FrameDecoder(config.autoencoder, dtype)
        self.images = TextToImage(self.cascade, self.params, tokenizer, self._mesh, directory)
        codec = FrameCodec(config, self.params, self.decoder, self._mesh, dtype)
        self.restore = Restore(codec, directory)
        self.interpolate = Interpolate(codec, self.temporal_sr, self.images, directory)
        self.long = LongVideo(codec, self._parts, self.interpolate, directory)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        mesh: Mesh | None = None,
        dtype: DTypeLike = jnp.float32,
        offload: bool = False,
    ) -> "VideoGen":
        """Loads a shipped model by its name, or a model directory.

        Without `offload`, each device receives its part of every tensor from the file: the host
        never has a whole component in memory. With it, the host has all of them, in `dtype`.

        Args:
            model: the name or the directory.
            mesh: as for the class.
            dtype: as for the class.
            offload: as for the class.

        Raises:
            MissingFile: there is no such model (lists the shipped ones), or its configuration
                or tokenizer is missing.
            UserError: a file is damaged, has an unknown field, or does not fit the configuration
                or the type; names it.
        """
        directory, config, tokenizer, params = load_model(
            model, cast("DType", dtype_name(dtype)), stored=not offload
        )
        return cls(
            config,
            params,
            tokenizer,
            mesh=mesh,
            dtype=dtype,
            offload=offload,
            directory=directory,
        )

    @classmethod
    def from_stable_diffusion(
        cls,
        model_dir: str | Path,
        *,
        seed: int = 0,
        mesh: Mesh | None = None,
        dtype: DTypeLike = jnp.float32,
    ) -> "VideoGen":
        """Builds an untrained video model from a converted Stable Diffusion model (§3.5).

        Frame by frame, the stages and the refiner equal the image UNet, and the video decoder
        equals the image decoder: their temporal layers are the identity. The flow network is newly
        initialised. Prints the copied, new and unused parameters of each component.

        Args:
            model_dir: with the components `text_encoder`, `image_unet` and `autoencoder`.
            seed: seed of the new parameters that do not start at zero.
            mesh: as for the class.
            dtype: as for the class.

        Raises:
            MissingFile: there is no such directory, or a file in it is missing.
            UserError: the directory already has video components, or as for `load`.
        """
        directory, config, tokenizer, loaded = load_model(model_dir)
        require_components(loaded, dict.fromkeys(IMAGE_COMPONENTS, "a warm start"), directory)
        if more := sorted(loaded.keys() - set(IMAGE_COMPONENTS)):
            raise UserError(f"{directory} has {', '.join(more)} already: VideoGen.load keeps them")
        params, reports = warm_start_model(config, loaded, jax.random.key(seed))
        for name, report in reports.items():
            _log.info("%s: %s", name, report)
        return cls(config, params, tokenizer, mesh=mesh, dtype=dtype, directory=directory)

    @classmethod
    def untrained(cls, config: ModelConfig, tokenizer: Tokenizer, seed: int = 0) -> "VideoGen":
        """Builds a model with random parameters, to try out sizes and speed; it makes noise."""
        return cls(config, init_components(config, jax.random.key(seed)), tokenizer)

    def save(self, directory: str | Path, dtype: "DType | None" = None) -> None:
        """Writes a model directory, atomically; see `save_model`.

        By default, parameters are written in the type that the model was made with.
        """
        params = self.params.host if isinstance(self.params, OffloadedParams) else self.params
        save_model(directory, self.config, self.tokenizer, params, dtype)

    @overload
    def __call__(
        self,
        prompt: str,
        *,
        reference: Reference | None = None,
        progress: bool | None | Report = None,
        keep_latents: PathLike | None = None,
        start_from: PathLike | None = None,
        start_after: str | None = None,
        callback: Callback | None = None,
        options: VideoOptions | None = None,
        **overrides: Unpack[VideoKeywords],
    ) -> Video: ...

    @overload
    def __call__(
        self,
        prompt: list[str] | tuple[str, ...],
        *,
        reference: Reference | Sequence[Reference] | None = None,
        progress: bool | None | Report = None,
        keep_latents: PathLike | None = None,
        start_from: PathLike | None = None,
        start_after: str | None = None,
        callback: Callback | None = None,
        options: VideoOptions | None = None,
        **overrides: Unpack[VideoKeywords],
    ) -> list[Video]: ...

    @shows_options(VideoOptions)
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        reference: Reference | Sequence[Reference] | None = None,
        progress: bool | None | Report = None,
        keep_latents: PathLike | None = None,
        start_from: PathLike | None = None,
        start_after: str | None = None,
        callback: Callback | None = None,
        options: VideoOptions | None = None,
        **overrides: Unpack[VideoKeywords],
    ) -> Video | list[Video]:
        """Makes a video of a prompt, or a list of videos of a list of prompts.

        Ctrl-C ends the call after the current step, a second one at once.

        Args:
            prompt: one text, or a list of texts that are sampled together. A video depends on its
                position in the list (a single text has position 0), not on the other prompts. With
                a list of seeds, it is that of the prompt alone with its seed.
            reference: image file or uint8 array `[H, W, 3]` of any size, used in place of a
                generated image (§3.1); one for all prompts, or a list with one for each. `fit` says
                what becomes of another aspect ratio.
            progress: whether to show progress bars over steps and frames; by default on a terminal
                and in a notebook. Or a function, called with a `Progress` after each step and with
                the result of each part.
            keep_latents: folder that receives the reference and the latents of each part.
            start_from: such a folder of an earlier call of as many prompts, frames and pixels; the
                call goes on after the last part that it has, with its own prompts and options.
            start_after: the part after which it goes on, "reference", "stage_1", … or
                "temporal_sr"; by default the last one.
            callback: called after each step with the model's name, "image", "stage_1", … or
                "refiner", the step's number from 0, and the latents, a `jax.Array` `[B, F, H, W,
                Z]`. It may raise `StopSampling`, or any exception, to end the call.
            options: the options, by default `VideoOptions()`.
            **overrides: options by name, such as `seed=1`; they take precedence over `options`.

        Raises:
            TypeError: an option name is unknown; lists the valid names.
            UserError: an argument is out of its range, a reference is not an image, or the devices
                along `frames` do not divide the frames.
            MissingFile: a reference file or a component that the call needs is missing.
        """
        report = Reporter(progress if callable(progress) else check_progress(progress))
        request = make_request(self.config, prompt, options, **overrides)
        given, after = given_latents(self.config, request, start_from, start_after)
        keeps = None if keep_latents is None else KeptLatents(keep_latents, self.config, request)
        needed = request.components(reference is None, after)
        require_components(self.params, needed, self._directory)
        pictures_BHWC = None
        if reference is not None:
            if not request.options.use_reference:
                raise UserError("use_reference is False, but a reference is given")
            pictures_BHWC = load_references(
                reference, len(request.prompts), request.sizes[0], request.options.fit
            )
        sharding.check_frames(self._mesh, request.num_frames)
        extras = Extras(pictures_BHWC, report, keeps, given, after, callback)
        with interruptible(), layout.activate(self._mesh):
            videos = sample_videos(self._parts(), request, extras)
        return videos[0] if isinstance(prompt, str) else videos

    def decode(self, latents: jax.Array | np.ndarray, decoder: DecoderName = "image") -> np.ndarray:
        """Decodes latents, such as a `Progress.result`, to uint8 frames `[B, F, H, W, 3]`.

        Args:
            latents: `[B, F, h, w, Z]` of any stage, in the scale of the model.
            decoder: "image" is the autoencoder's, for previews; "video" is that of §3.4.

        Raises:
            MissingFile: the model lacks the decoder.
            UserError: the latents have another number of axes or channels.
        """
        check_choice("decoder", decoder, DecoderName)
        name = "video_decoder" if decoder == "video" else "autoencoder"
        require_components(self.params, {name: f"decoder={decoder!r}"}, self._directory)
        channels = self.config.autoencoder.latent_channels
        if latents.ndim != 5 or latents.shape[-1] != channels:
            raise UserError(
                f"latents have the shape {list(latents.shape)}, expected [B, F, h, w, {channels}]"
            )
        with layout.activate(self._mesh):
            return self.decoder(self.params, jnp.asarray(latents), decoder)

    def __repr__(self) -> str:
        return describe_model(self.config, self.params, self._mesh, self._dtype, self._directory)

    def _parts(self) -> Parts:
        return Parts(
            self.params, self.cascade, self.temporal_sr, self.decoder, self.images, self._mesh
        )
