"""Encoding and decoding of streams of frames of any size.

Letters: F frames, H height, W width, C = 3 colour channels, Z latent channels; `1` a batch of one.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from videogen_jax import sharding
from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.files.constant_rate import resized
from videogen_jax.data.transforms import to_float
from videogen_jax.pipeline.decode import DecoderName, FrameDecoder
from videogen_jax.pipeline.denoise import Params, Tick
from videogen_jax.pipeline.encode import posterior

_GROUP = 4  # frames that are encoded together; a frame's latents do not depend on the others


class FrameCodec:
    """The image encoder and the decoders of a model, for streams of frames.

    Frames may have any size. For the networks they are padded at the bottom and on the right, with
    their last row and column; the decoded frames are cut back.

    Args:
        config: the model's configuration.
        params: `{component: parameters}` with `autoencoder`, and `video_decoder` for that decoder.
        decoder: decodes in windows.
        mesh: devices for the networks.
        dtype: dtype of the encoder's computation.
    """

    def __init__(
        self,
        config: ModelConfig,
        params: Mapping[str, Params],
        decoder: FrameDecoder,
        mesh: Mesh,
        dtype: DTypeLike = jnp.float32,
    ):
        def encode(params: Params, pixels_1FHWC: jax.Array) -> jax.Array:
            return posterior(config, params, to_float(pixels_1FHWC), dtype)[0]

        self.config, self.params, self.mesh = config, params, mesh
        self._decoder = decoder
        self._encode = jax.jit(encode)

    def encode(
        self, frames: Iterable[np.ndarray], size: tuple[int, int], multiple: int
    ) -> Iterator[np.ndarray]:
        """Encodes frames in small groups.

        Args:
            frames: uint8 `[H, W, 3]` of any size.
            size: height and width to which they are resized, antialiased.
            multiple: pixels of which the padded height and width are multiples.

        Yields:
            scaled latents, float32 `[1, F, h, w, Z]`, on the host.
        """
        padding = [(0, -side % multiple) for side in size]
        for group in _groups(frames, _GROUP):
            fitted = [np.pad(resized(x, *size), (*padding, (0, 0)), mode="edge") for x in group]
            fitted += [fitted[-1]] * (_GROUP - len(group))  # one shape, so one compilation
            pixels = sharding.put_whole_batch(self.mesh, {"video": np.stack(fitted)[None]})["video"]
            encoder = {"autoencoder": self.params["autoencoder"]}
            yield sharding.to_host(self._encode(encoder, pixels))[:1, : len(group)]

    def decode(
        self,
        latents: Iterable[np.ndarray],
        num_frames: int,
        size: tuple[int, int],
        decoder: DecoderName,
        tick: Tick | None = None,
    ) -> Iterator[np.ndarray]:
        """Decodes latents of `num_frames` frames to uint8 frames `[H, W, 3]` of `size`."""
        pieces = self._decoder.stream(self.params, latents, num_frames, decoder, tick)
        for pixels_1FHWC in pieces:
            yield from pixels_1FHWC[0, :, : size[0], : size[1]]


def _groups(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    source = iter(frames)
    while group := list(itertools.islice(source, size)):
        yield group
