"""The command line `python -m sample.image`."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import micro_model
from videogen_jax import ImageOptions, VideoGen
from videogen_jax.commands.sample import image as sample_image


def call(*arguments: str | Path) -> None:
    sample_image.call("videogen", [str(argument) for argument in arguments])


@pytest.fixture
def caches(monkeypatch) -> list[Path]:
    """Loads the micro model by name; lists the directories of the compilation cache."""
    directories: list[Path] = []
    models = {"micro": micro_model.model()}
    monkeypatch.setattr(VideoGen, "load", lambda name, *, dtype, offload: models[name])
    monkeypatch.setattr(sample_image, "read_model_config", micro_model.read_config)
    monkeypatch.setattr(sample_image, "enable_compilation_cache", directories.append)
    return directories


@pytest.fixture
def seen(caches, monkeypatch) -> dict[str, Any]:
    """The arguments of the model's call; the model returns pictures of increasing brightness."""
    seen: dict[str, Any] = {}

    def images(prompts: list[str], **options: Any) -> np.ndarray:
        seen.update(options, prompts=prompts)
        return np.stack([np.full((8, 8, 3), i, np.uint8) for i in range(len(prompts))])

    def load(name: str, *, dtype: str, offload: bool) -> Any:
        seen.update(dtype=dtype, offload=offload)
        return SimpleNamespace(images=images)

    monkeypatch.setattr(VideoGen, "load", load)
    return seen


def test_a_prompt_becomes_a_picture(caches, tmp_path, capfd):
    out = tmp_path / "new" / "out.png"
    call("a red circle", "--model", "micro", "--out", out, "--cache-dir", tmp_path / "cache")
    with Image.open(out) as image:
        np.testing.assert_array_equal(
            np.asarray(image), micro_model.model().images("a red circle")[0]
        )
    assert caches == [tmp_path / "cache"]
    printed = capfd.readouterr()
    assert "text to image" in printed.err
    assert printed.out.splitlines()[-1] == f"{out}: 1 image of 16x16, seed 0"


def test_several_images_are_a_grid(seen, tmp_path, capfd):
    out = tmp_path / "out.png"
    call("a ring", "a star", "--images-per-prompt", "3", "--out", out)
    assert seen["prompts"] == ["a ring"] * 3 + ["a star"] * 3
    with Image.open(out) as image:
        cells = np.asarray(image)[::8, ::8, 0]
    np.testing.assert_array_equal(cells, [[0, 1, 2], [3, 4, 5]])
    assert f"{out}: 6 images of 8x8" in capfd.readouterr().out

    call(*"abcd", "--out", out)
    with Image.open(out) as image:
        np.testing.assert_array_equal(np.asarray(image)[::8, ::8, 0], [[0, 1], [2, 3]])


def test_every_argument_reaches_the_model(seen, tmp_path):
    image, mask = tmp_path / "image.png", tmp_path / "mask.png"
    for path in (image, mask):
        Image.new("RGB", (20, 10), "white").save(path)
    call(
        *("a ring", "--out", tmp_path / "out.webp", "--seed", "3", "--steps", "7"),
        *("--negative-prompt", "blue", "--guidance", "2.5", "--sampler", "euler_ancestral"),
        *("--image", image, "--mask", mask, "--strength", "0.5", "--fit", "pad"),
        *("--height", "8", "--width", "24"),
        *("--guidance-rescale", "0.7", "--dtype", "bfloat16", "--offload"),
    )
    assert seen == {
        "prompts": ["a ring"],
        "options": ImageOptions(
            seed=3,
            negative_prompt="blue",
            steps=7,
            guidance=2.5,
            guidance_rescale=0.7,
            sampler="euler_ancestral",
            strength=0.5,
            fit="pad",
            height=8,
            width=24,
        ),
        "image": image,
        "mask": mask,
        "progress": True,
        "dtype": "bfloat16",
        "offload": True,
    }


def test_help_shows_every_option_once(capfd):
    with pytest.raises(SystemExit) as stopped:
        call("--help")
    assert stopped.value.code == 0
    text = capfd.readouterr().out
    for field in fields(ImageOptions):
        flag = f"^  --{field.name.replace('_', '-')}"
        assert len(re.findall(rf"{flag}\b(?!-)", text, re.MULTILINE)) == 1, flag
    assert "--steps INT " in text and "--guidance FLOAT " in text  # one number, one model
    assert "None" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a ring", "--out", "out.mp4"], "cannot write out.mp4: unknown suffix '.mp4'"),
        (["a ring", "--out", "/dev/null/out.png"], "cannot write /dev/null/out.png"),
        (
            ["a ring", "--images-per-prompt", "0"],
            "images_per_prompt is 0, expected an integer",
        ),
        (["a ring", "--steps", "0"], "steps is 0"),
        (["a ring", "--guidance", "nan"], "guidance is nan"),
        (["a ring", "--seed", "-1"], "seed is -1"),
        (["a ring", "--mask", "m.png"], "mask is given without an image"),
        (["a ring", "--image", "i.png"], "no image file i.png"),
        ([], "the list of prompts is empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(
    caches, tmp_path, monkeypatch, capfd, arguments, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        call("--model", "micro", *arguments)
    assert stopped.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "arguments", [["--sed", "3"], ["--sampler", "plms"], ["--steps", "many"], ["--steps", "3", "4"]]
)
def test_wrong_usage_is_exit_code_2(caches, capfd, arguments):
    with pytest.raises(SystemExit) as stopped:
        call("a ring", *arguments)
    assert stopped.value.code == 2


def test_the_script_runs_by_itself(tmp_path):
    """With an unknown model, the script starts, fails to load it and lists the models."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "sample.image", "a ring", "--model", "no-such-model"]
    command += ["--out", str(tmp_path / "out.png"), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "error: no model 'no-such-model'" in done.stderr
