"""The results of the parts of a call in a folder, from which a later call goes on.

folder/
  reference.npy     uint8 [B, H, W, 3]
  stage_1.npy       latents, float32 [B, F, h, w, Z]
  temporal_sr.npy   latents after temporal super-resolution

Letters: B prompts, F frames, H height, W width; h, w and Z of the latents.
"""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from videogen_jax import sharding
from videogen_jax.atomic import replacing
from videogen_jax.config import ModelConfig
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.pipeline.requests.video import Request

PathLike = str | os.PathLike[str]


class KeptLatents:
    """A folder of the results of a request's parts.

    Args:
        path: the folder, which is created when something is written.
        config: the model's configuration.
        request: the call that writes or reads.
    """

    def __init__(self, path: PathLike, config: ModelConfig, request: Request):
        self.path, self._config, self._request = Path(path), config, request

    def save(self, name: str, result: jax.Array) -> None:
        """Writes a part's result, atomically, in place of an older one. Only process 0 writes.

        Raises:
            UserError: the file cannot be written.
        """
        array = sharding.to_host(result)[: len(self._request.prompts)]
        if jax.process_index() == 0:
            with replacing(self._file(name)) as temporary, temporary.open("wb") as file:
                np.save(file, array)

    def last(self) -> str:
        """Returns the last part of the request whose result is there.

        Raises:
            MissingFile: there is none.
        """
        names = self._names()
        found = [name for name in names if self._file(name).is_file()]
        if not found:
            raise MissingFile(f"{self.path} has none of {', '.join(f'{n}.npy' for n in names)}")
        return found[-1]

    def load(self, name: str) -> np.ndarray:
        """Reads a part's result, of one prompt or one for each.

        Raises:
            MissingFile: it is not there.
            UserError: it is no such result, or not of the request's shape; says what was expected.
        """
        if name not in self._names():
            raise UserError(f"start_after is {name!r}, expected one of {', '.join(self._names())}")
        path = self._file(name)
        if not path.is_file():
            raise MissingFile(f"no {path}, which a call with keep_latents writes")
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged: {error}") from error
        shape, dtype = self._expected(name)
        if array.shape != shape or array.dtype != dtype:
            raise UserError(
                f"{path} has {array.dtype} {list(array.shape)}, but this call needs "
                f"{np.dtype(dtype)} {list(shape)}: the same prompts, frames and size"
            )
        return array

    def _names(self) -> list[str]:
        return [n for n in self._request.parts(True) if n not in ("text", "decoder")]

    def _expected(self, name: str) -> tuple[tuple[int, ...], Any]:
        request, count = self._request, len(self._request.prompts)
        if name == "reference":
            return (count, *request.sizes[0], 3), np.uint8
        stage = request.stages if name == "temporal_sr" else int(name.removeprefix("stage_"))
        frames = request.final_num_frames if name == "temporal_sr" else request.num_frames
        height, width = map(self._config.latent_size, request.sizes[stage])
        channels = self._config.autoencoder.latent_channels
        return (count, frames, height, width, channels), np.float32

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npy"


def given_latents(
    config: ModelConfig, request: Request, start_from: PathLike | None, start_after: str | None
) -> tuple[KeptLatents | None, str]:
    """Returns an earlier call's results, if any, and the last part of it that is used.

    Raises:
        MissingFile, UserError: there is no such result, or it does not fit the request.
    """
    if start_from is None:
        if start_after is not None:
            raise UserError(f"start_after is {start_after!r}, expected start_from with it")
        return None, ""
    given = KeptLatents(start_from, config, request)
    after = given.last() if start_after is None else start_after
    given.load(after)  # which checks it before anything is computed
    return given, after
