"""An evaluation with a stand-in for the model and for I3D, in this process or as a script.

As a script (`python tests/support/evaluating.py OUT SECONDS ADDRESS PROCESSES ID`) it is one of the
processes of an evaluation and prints what it has generated.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])

from videogen_jax.evaluation import features
from videogen_jax.evaluation.features import Extractor
from videogen_jax.evaluation.runner import checks, options
from videogen_jax.evaluation.runner.evaluate import Evaluation
from videogen_jax.evaluation.runner.generation import Plan
from videogen_jax.evaluation.runner.options import EvaluateOptions
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.media.video import Video
from videogen_jax.models.features import loading
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import make_request

FRAMES, SIZE = 3, 8
PROTOCOL = Protocol(
    "for tests",
    metrics="fvd",
    prompts="ucf101",
    num_videos=70,
    real_videos=40,
    scored_frames=FRAMES,
    resolution=SIZE,
)


def mean_colours(videos_BFHW3: Any) -> np.ndarray:
    """Stands for I3D: 3 features, the mean of each channel."""
    return np.asarray(videos_BFHW3).mean((1, 2, 3)).astype(np.float32) / 255


def replace_networks(
    setattr: Callable[[Any, str, Any], None], apply: Callable[[Any], np.ndarray] = mean_colours
) -> None:
    """Replaces I3D by a function of videos, and the hashes of weights by a constant."""
    extractor = Extractor("I3D", 3, 1, None, apply)
    setattr(loading, "load_i3d", lambda directory: (None, None))
    setattr(features, "i3d_features", lambda config, params, grid: extractor)
    sizes = SimpleNamespace(num_classes=3, num_frames=FRAMES), None
    setattr(checks, "MIN_FRAMES", FRAMES)
    setattr(checks, "network_shapes", lambda component, directory: sizes)
    for module in (checks, options):
        setattr(module, "network_sha256", lambda component, directory: f"hash of {component}")


def frames_of(prompt: str, seed: int, count: int = FRAMES) -> np.ndarray:
    rng = np.random.default_rng([seed, len(prompt)])
    base = rng.integers(0, 200, (1, 1, 1, 3))
    return (base + rng.integers(0, 56, (count, SIZE, SIZE, 3))).astype(np.uint8)


class StandIn:
    """A model that draws noise from prompt and seed, and records its calls."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[tuple[tuple[str, ...], tuple[int, ...]]] = []
        self._seconds = seconds

    def __call__(self, prompt: list[str], *, options: VideoOptions, **others: Any) -> list[Video]:
        assert isinstance(options.seed, tuple)
        self.calls.append((tuple(prompt), options.seed))
        time.sleep(self._seconds)
        pairs = zip(prompt, options.seed, strict=True)
        return [Video(frames_of(text, seed), 8.0, text, seed=seed) for text, seed in pairs]


def write_real(folder: Path, count: int = 45, frames: int = FRAMES + 1) -> Path:
    """Writes real videos as PNG frames, by default with one more than is scored."""
    for number in range(count):
        Video(frames_of("real", 1000 + number, frames), 8.0).save(folder / f"clip_{number:02d}")
    return folder


def evaluation(out: Path, real: Path, **changes: Any) -> Evaluation:
    chosen = EvaluateOptions(**{"batch_size": 8, "scoring_batch": 1, "bootstrap": 5, **changes})
    return Evaluation(PROTOCOL.changed(chosen), chosen, str(real), out)


def plan_of(one: Evaluation, **changes: Any) -> Plan:
    """Returns the plan of the videos that an evaluation generates with the stand-in."""
    from tests.support.micro_model import MICRO

    texts = one.prompts.texts
    prompts = tuple(texts[i % len(texts)] for i in range(one.protocol.num_videos or 0))
    sampling = {"temporal_sr": 0, "num_frames": FRAMES, "fps": 8.0, **changes}
    request = make_request(MICRO, "a ring", VideoOptions(**sampling))
    weights = {"stage_1": "its hash"}
    folder, form, size = one.out / "videos", one.options.format, one.options.batch_size
    return Plan(folder, prompts, one.prompts.source, request, form, size, "float32", weights)


def main() -> None:
    out, seconds, address, processes, number = sys.argv[1:]
    from videogen_jax.training.processes.distributed import DistributedConfig, connect
    from videogen_jax.training.processes.peers import ending_at_once

    if int(processes) > 1:
        connect(DistributedConfig(False, address, int(processes), int(number)))

    def slowly(videos: Any) -> np.ndarray:
        time.sleep(float(seconds))
        return mean_colours(videos)

    replace_networks(setattr, slowly)
    one = evaluation(Path(out), Path(out).parent / "real")
    model = StandIn(float(seconds))
    with ending_at_once():
        plan = plan_of(one)
        one.generate(plan, lambda: model)
        print("generated", sum(len(set(seeds)) for _, seeds in model.calls))
        print(one.score(plan.folder))


if __name__ == "__main__":
    main()
