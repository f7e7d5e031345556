"""Generating the videos of an evaluation: over devices and processes, again where it stopped."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.options import Format
from videogen_jax.evaluation.runner.prompts import sha256
from videogen_jax.media.video_folder import VideoFolder
from videogen_jax.pipeline.prompt_files import Model, PromptLine, sample_prompts
from videogen_jax.pipeline.requests.video import MAX_SEED, Request

_POLL_SECONDS = 1.0  # each looks for every file


@dataclass(frozen=True)
class Plan:
    """The videos to generate.

    Attributes:
        folder: The folder of the videos.
        prompts: The prompt of each.
        prompts_source: Where they are from.
        request: The options, completed with the model's values; video i has their seed plus i.
        form: Format of the files.
        batch_size: Videos that a process samples together.
        dtype: Type of the networks' computation.
        weights: Hash of each component of the model.
    """

    folder: Path
    prompts: tuple[str, ...]
    prompts_source: str
    request: Request
    form: Format
    batch_size: int
    dtype: str
    weights: dict[str, str]

    def __post_init__(self) -> None:
        seed = self.request.options.seed
        if not isinstance(seed, int):
            raise UserError(f"seed is {seed}, expected one integer: video i has seed + i")
        if not isinstance(self.request.options.negative_prompt, str):
            raise UserError("negative_prompt: expected one text for all videos")
        last = seed + len(self.prompts) - 1
        if last > MAX_SEED:
            raise UserError(f"seed is {seed}, so the last video has {last}")

    def settings(self) -> dict[str, Any]:
        """Returns everything that the videos depend on, for JSON."""
        options = self.request.options.settings() | {
            "num_frames": self.request.num_frames,
            "fps": self.request.fps,
            "stages": self.request.stages,
            "temporal_sr": self.request.rounds,
            "steps": list(self.request.steps),
            "guidance": list(self.request.guidance),
            "sampler": [asdict(sampler) for sampler in self.request.samplers],
        }
        return {
            "videos": len(self.prompts),
            "prompts": self.prompts_source,
            "prompts_sha256": sha256(self.prompts),
            "format": self.form,
            "batch_size": self.batch_size,
            "sampling": options,
            "dtype": self.dtype,
            "weights": self.weights,
        }

    @property
    def suffix(self) -> str:
        """The end of the videos' names; "" for folders of PNG frames."""
        return "" if self.form == "png" else f".{self.form}"

    def lines(self) -> list[PromptLine]:
        """Returns the prompts with the names and seeds of their videos."""
        first, negative = self.request.seeds[0], self.request.options.negative_prompt
        assert isinstance(negative, str)
        return [
            PromptLine(index, f"{index:06d}", prompt, first + index, negative)
            for index, prompt in enumerate(self.prompts)
        ]


def generate(plan: Plan, load: Callable[[], Model]) -> None:
    """Generates the videos that are missing, then waits for those of the other processes.

    Args:
        plan: The videos.
        load: Returns the model; called if a video is missing.

    Raises:
        UserError: As `VideoFolder`, such as for a folder of other settings.
    """
    folder, lines = VideoFolder(plan.folder, plan.settings()), plan.lines()
    made = sample_prompts(
        load,
        lines,
        folder,
        plan.request.options,
        batch_size=plan.batch_size,
        suffix=plan.suffix,
    )
    hidden = jax.process_index() > 0
    with tqdm(total=len(lines), desc="generating", unit="video", disable=hidden) as bar:
        bar.update(len(folder.entries()))
        for _ in made:
            bar.update()
        while len(folder.entries()) < len(lines):  # by other processes
            time.sleep(_POLL_SECONDS)
        bar.update(len(lines) - bar.n)


def devices_batch(batch_size: int) -> int:
    """Returns `batch_size` rounded up to a multiple of this process's devices."""
    devices = jax.local_device_count()
    return math.ceil(batch_size / devices) * devices
