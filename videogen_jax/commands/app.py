"""Opens the page in the browser: `videogen app`."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from videogen_jax.cli import command
from videogen_jax.commands.sampling_flags import CacheDirectory
from videogen_jax.compilation import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.errors import UserError
from videogen_jax.weights.model_dir import DType

_MAX_PORT = 65535


def main(
    model: str = "shapes",
    host: str = "127.0.0.1",
    port: int = 7860,
    max_upload_mb: Annotated[int, tyro.conf.arg(metavar="MB")] = 50,
    dtype: DType = "float32",
    cache_dir: CacheDirectory = COMPILATION_CACHE,
) -> None:
    """Opens a page in the browser to sample, compare and interpolate videos.

    It is for this machine alone: the default host is not reached from others, and there are no
    accounts. One request is sampled at a time. Ctrl-C ends it.

    Args:
        model: name of a shipped model, or a model directory.
        host: address to listen at; 0.0.0.0 lets other machines in.
        port: port to listen at.
        max_upload_mb: largest size of an uploaded file, in megabytes.
        dtype: floating-point type of the networks' computation.
        cache_dir: folder of compiled programs, which later runs reuse.
    """
    from gradio.themes import Default

    from videogen_jax import VideoGen
    from videogen_jax.app.handlers import Handlers
    from videogen_jax.app.page import build_page
    from videogen_jax.app.results import Results

    if not 0 < port <= _MAX_PORT:
        raise UserError(f"port is {port}, expected from 1 to {_MAX_PORT}")
    if max_upload_mb < 1:
        raise UserError(f"max_upload_mb is {max_upload_mb}, expected at least 1")
    enable_compilation_cache(cache_dir)
    print(f"loading {model}")
    loaded = VideoGen.load(model, dtype=dtype)
    with tempfile.TemporaryDirectory(prefix="videogen-app-") as folder:
        page = build_page(loaded.config, Handlers(loaded, model, Results(Path(folder))))
        print(f"http://{host}:{port}", flush=True)
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            max_file_size=f"{max_upload_mb}mb",
            allowed_paths=[folder],
            footer_links=[],
            ssr_mode=False,
            # The browser's own fonts: the page asks no other server.
            theme=Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        )


call = partial(command, main)
