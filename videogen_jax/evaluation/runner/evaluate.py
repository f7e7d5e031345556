"""An evaluation from beginning to end: generation, scoring, result."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner import generation, report
from videogen_jax.evaluation.runner.checks import check_before
from videogen_jax.evaluation.runner.generation import Plan, devices_batch
from videogen_jax.evaluation.runner.options import EvaluateOptions, real_window
from videogen_jax.evaluation.runner.prompts import REAL, Prompts, chosen, read_prompts
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.evaluation.runner.scoring import score_folder
from videogen_jax.evaluation.runner.sources import Videos, captions_of, open_real
from videogen_jax.locking import hold_lock
from videogen_jax.pipeline.prompt_files import Model
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import make_request
from videogen_jax.weights.model_dir import DType, component_sha256


@dataclasses.dataclass
class Evaluation:
    """One evaluation; with several processes, each makes the same calls.

    Attributes:
        protocol: The protocol, with the changes of the options.
        options: The options.
        real_source: See `sources.open_real`; "" for none.
        out: Folder of the videos, the statistics and the result.
    """

    protocol: Protocol
    options: EvaluateOptions
    real_source: str
    out: Path

    @cached_property
    def real(self) -> Videos | None:
        """The real videos."""
        if not self.real_source:
            return None
        return open_real(self.real_source, real_window(self.protocol), self.protocol.real_videos)

    @cached_property
    def prompts(self) -> Prompts:
        """All prompts that the protocol may generate from."""
        captions = ()
        if self.protocol.prompts == REAL and self.real is not None:
            captions = captions_of(self.real)
        return read_prompts(self.protocol.prompts, captions)

    @property
    def result_file(self) -> Path:
        """The file of the result."""
        return self.out / report.RESULT

    def generate(self, plan: Plan, load: Callable[[], Model]) -> None:
        """Generates the videos that are missing, after the checks of `check_before`."""
        check_before(self.protocol, self.options, len(plan.prompts), self.real)
        lock = self.out / f".lock-{jax.process_index()}"
        with hold_lock(lock, f"the folder {self.out}"):
            generation.generate(plan, load)

    def score(self, folder: Path) -> str | None:
        """Scores a folder, see `score_folder`; returns in all processes when it is finished."""
        line = score_folder(folder, self.out, self.protocol, self.options, self.real)
        if jax.process_count() > 1:  # one that exits earlier would count as lost
            multihost_utils.sync_global_devices("evaluated")
        return line


def generation_plan(
    evaluation: Evaluation,
    directory: Path,
    config: ModelConfig,
    sampling: VideoOptions,
    dtype: DType,
) -> Plan:
    """Returns which videos of a model an evaluation generates.

    Args:
        evaluation: The evaluation.
        directory: The model directory.
        config: The model's configuration.
        sampling: Options of sampling. By default there is no temporal super-resolution, and the
            clips have the frames that are scored.
        dtype: Type of the networks' computation.

    Raises:
        MissingFile: The directory lacks a component.
        UserError: An option or the prompts are invalid, or the clips have fewer frames than are
            scored.
    """
    frames = evaluation.protocol.scored_frames
    if sampling.temporal_sr is None:
        own = frames if sampling.num_frames is None else sampling.num_frames
        sampling = dataclasses.replace(sampling, temporal_sr=0, num_frames=own)
    prompts = chosen(evaluation.prompts, evaluation.protocol)
    request = make_request(config, prompts[0], sampling)
    if request.final_num_frames < frames:
        made = request.final_num_frames
        raise UserError(f"the videos would have {made} frames, but {frames} are scored: num-frames")
    weights = {
        name: component_sha256(directory, name)
        for name in sorted(request.components(generates_reference=True))
    }
    return Plan(
        evaluation.out / "videos",
        prompts,
        evaluation.prompts.source,
        request,
        evaluation.options.format,
        devices_batch(evaluation.options.batch_size),
        dtype,
        weights,
    )
