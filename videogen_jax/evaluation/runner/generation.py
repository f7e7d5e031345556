"""Generating the videos of an evaluation: over devices and processes, again where it stopped."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
from tqdm import tqdm

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.folder import (
    MANIFEST,
    SETTINGS,
    Entry,
    Format,
    require_settings,
    video_name,
    write_manifest,
)
from videogen_jax.evaluation.runner.prompts import sha256
from videogen_jax.media.video import Video
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import MAX_SEED, Request

_POLL_SECONDS = 0.2


class Model(Protocol):
    """`VideoGen`, as far as it is used here."""

    def __call__(
        self, prompt: list[str], *, seed: Sequence[int], options: VideoOptions
    ) -> list[Video]: ...


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
        last = seed + len(self.prompts) - 1
        if last > MAX_SEED:
            raise UserError(f"seed is {seed}, so the last video has {last}")

    def settings(self) -> dict[str, Any]:
        """Returns everything that the videos depend on, for JSON."""
        options = asdict(self.request.options) | {
            "num_frames": self.request.num_frames,
            "fps": self.request.fps,
            "stages": self.request.stages,
            "temporal_sr": self.request.rounds,
            "steps": list(self.request.steps),
            "guidance": list(self.request.guidance),
            "sampler": [asdict(sampler) for sampler in self.request.samplers],
        }
        del options["guidance_passes"]  # as the devices, which change no video beyond rounding
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

    def seed(self, index: int) -> int:
        """Returns the seed of a video."""
        return self.request.seeds[0] + index

    def path(self, index: int) -> Path:
        """Returns the file or folder of a video."""
        return self.folder / video_name(index, self.form)


def begin(plan: Plan) -> None:
    """Creates the folder, or checks that it was begun with the same settings.

    Raises:
        UserError: Other settings, or files that are not of a generation.
    """
    there = sorted(p.name for p in plan.folder.glob("[!.]*")) if plan.folder.is_dir() else []
    if there and SETTINGS not in there:
        raise UserError(
            f"{plan.folder} has {there[0]}, which is not of a generation; use another --out, or "
            f"score it by --videos {plan.folder}"
        )
    require_settings(plan.folder / SETTINGS, plan.settings(), "the videos were begun")


def is_complete(plan: Plan) -> bool:
    """Returns whether all videos are there, and the manifest too."""
    return (plan.folder / MANIFEST).is_file()


def generate(plan: Plan, load: Callable[[], Model]) -> None:
    """Generates the videos that are missing, then waits for those of the other processes.

    Groups of `batch_size` prompts are sampled together; process p of P takes the groups p, p + P,
    ... A group of which a video is missing is sampled again as a whole, so that a video does not
    depend on where an earlier call stopped.

    Args:
        plan: The videos.
        load: Returns the model; called if a video is missing.
    """
    count, size = len(plan.prompts), plan.batch_size
    groups = [range(start, min(start + size, count)) for start in range(0, count, size)]
    own = groups[jax.process_index() :: jax.process_count()]
    missing = [group for group in own if not all(plan.path(index).exists() for index in group)]
    model = load() if missing else None
    for group in tqdm(missing, "generating", unit="batch", disable=jax.process_index() > 0):
        assert model is not None
        _write(plan, group, model)
    if jax.process_index() == 0:
        _wait_for(lambda: all(plan.path(index).exists() for index in range(count)))
        write_manifest(plan.folder, _entries(plan))
    _wait_for(lambda: is_complete(plan))


def _write(plan: Plan, group: range, model: Model) -> None:
    # The last group is filled up, because every size of a group compiles anew.
    padded = [*group, *[group[-1]] * (plan.batch_size - len(group))]
    videos = model(
        [plan.prompts[index] for index in padded],
        seed=[plan.seed(index) for index in padded],
        options=plan.request.options,
    )
    for index, video in zip(group, videos, strict=False):
        if not plan.path(index).exists():
            video.save(plan.path(index))


def _entries(plan: Plan) -> list[Entry]:
    request = plan.request
    return [
        Entry(
            index,
            plan.path(index).name,
            prompt,
            plan.seed(index),
            request.final_fps,
            request.final_num_frames,
        )
        for index, prompt in enumerate(plan.prompts)
    ]


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(_POLL_SECONDS)


def devices_batch(batch_size: int) -> int:
    """Returns `batch_size` rounded up to a multiple of this process's devices."""
    devices = jax.local_device_count()
    return math.ceil(batch_size / devices) * devices
