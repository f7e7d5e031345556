"""Memory of decoding a whole video: `python -m benchmarks.decode_memory plan h100:1`.

    plan      the video decoder of `paper`, compiled for a device that is absent; nothing runs
    measure   resident memory of this process while a narrow video decoder decodes on the CPU

Both decode 121 frames of 64 × 64 latents to 512 × 512 pixels.
"""

import dataclasses
import functools
import resource
import time
from typing import Literal

import jax
import numpy as np
import tyro

from videogen_jax.configs.paper import PAPER
from videogen_jax.models.components import component_shapes
from videogen_jax.models.parameters import init_video_decoder
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.pipeline.decode import WINDOW, FrameDecoder, decode_clips
from videogen_jax.training.planning.plan import compile_for
from videogen_jax.training.planning.topology import absent_devices, parse_topology, prepare

FRAMES, SIDE = 121, 64
_GIB = 2.0**30


def plan(
    topology: tyro.conf.Positional[str],
    /,
    dtype: Literal["float32", "bfloat16"] = "bfloat16",
    window: int = WINDOW,
) -> None:
    """Prints what the largest program of the decoder needs: that of a window of frames.

    All latents of the video are added. Decoded pixels go to the host window by window.

    Args:
        topology: one device, such as h100:1 or v5e:1x1.
        dtype: dtype of the decoder's computation.
        window: frames of a window.
    """
    where = parse_topology(topology)
    prepare(where)
    place = jax.sharding.SingleDeviceSharding(absent_devices(where)[0])
    shapes = component_shapes(PAPER, "video_decoder")["video_decoder"]
    channels = PAPER.autoencoder.latent_channels
    latents = jax.ShapeDtypeStruct((1, window, SIDE, SIDE, channels), np.float32)
    placed = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        (shapes, latents),
    )
    decode = functools.partial(decode_clips, VideoDecoder(PAPER.autoencoder, dtype))
    started = time.perf_counter()
    compiled, size = compile_for(where, jax.jit(decode).trace(*placed))
    size += FRAMES * SIDE**2 * channels * latents.dtype.itemsize
    limit = where.chip.hbm_bytes or np.nan
    word = "needs" if compiled is not None else "is rejected, asks for"
    print(
        f"{where}, {dtype}, windows of {window}: {word} {size / _GIB:.2f} of {limit / _GIB:.2f} "
        f"GiB; compiled in {time.perf_counter() - started:.0f} s"
    )


def measure(width: int = 8) -> None:
    """Decodes a video with random parameters and prints the seconds and the resident memory.

    Args:
        width: channels at the resolution of the pixels; the other levels have 1, 2 and 4 times it.
    """
    config = dataclasses.replace(
        PAPER.autoencoder,
        block_out_channels=(width, width, 2 * width, 4 * width),
        norm_groups=min(width, PAPER.autoencoder.norm_groups),
    )
    key = jax.random.key(0)
    params = {"video_decoder": jax.jit(init_video_decoder, static_argnums=1)(key, config)}
    shape = (1, FRAMES, SIDE, SIDE, config.latent_channels)
    latents = jax.random.normal(key, shape)
    before = _resident()
    started = time.perf_counter()
    pixels = FrameDecoder(config)(params, latents)
    print(
        f"{pixels.shape[1:]} in {time.perf_counter() - started:.0f} s: peak {_resident():.2f} GiB, "
        f"{before:.2f} GiB before; the pixels are {pixels.nbytes / _GIB:.2f} GiB"
    )


def _resident() -> float:
    """Returns the largest resident memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"plan": plan, "measure": measure}, prog="python -m benchmarks.decode_memory"
    )
