"""The command line `python -m sample.video`."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jax.sharding import Mesh
from PIL import Image

from tests.support import micro_model
from videogen_jax import Video, VideoGen, VideoOptions
from videogen_jax.commands.sample import video as sample_video
from videogen_jax.models.components import IMAGE_COMPONENTS

ARGUMENTS = ["--model", "micro", "--stages", "1", "--steps", "2"]


@pytest.fixture
def caches(monkeypatch) -> list[Path]:
    """Loads the micro model by name; lists the directories of the compilation cache."""
    directories: list[Path] = []
    models = {"micro": micro_model.model()}
    monkeypatch.setattr(VideoGen, "load", lambda name, *, mesh, dtype, offload: models[name])
    monkeypatch.setattr(sample_video, "read_model_config", micro_model.read_config)
    monkeypatch.setattr(sample_video, "list_components", lambda directory: micro_model.params())
    monkeypatch.setattr(sample_video, "enable_compilation_cache", directories.append)
    return directories


def call(*arguments: str | Path) -> None:
    sample_video.call("videogen", [str(argument) for argument in arguments])


def test_a_prompt_becomes_an_mp4_and_a_contact_sheet(caches, tmp_path, capfd):
    out = tmp_path / "new" / "out.mp4"
    call("a red circle", "--out", out, "--cache-dir", tmp_path / "cache", *ARGUMENTS)
    assert out.read_bytes()[4:8] == b"ftyp"
    with Image.open(out.with_suffix(".png")) as sheet:
        assert sheet.width > 5 * 96  # the reference and 4 frames
    assert caches == [tmp_path / "cache"]
    printed = capfd.readouterr()
    assert "stage 1" in printed.err
    assert f"{out} and {out.with_suffix('.png')}: Video('a red circle', 4 frames" in printed.out


@pytest.fixture
def seen(caches, monkeypatch) -> dict[str, Any]:
    """The arguments of the model's call; the model returns black videos."""
    seen: dict[str, Any] = {}

    def model(prompts: tuple[str, ...], **options: Any) -> list[Video]:
        seen.update(options, prompts=prompts)
        return [Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, prompt) for prompt in prompts]

    def load(name: str, *, mesh: Mesh, dtype: str, offload: bool) -> Any:
        seen.update(model=name, mesh=tuple(mesh.shape.values()), dtype=dtype, offload=offload)
        return model

    monkeypatch.setattr(VideoGen, "load", load)
    return seen


def test_several_prompts_become_numbered_files(seen, tmp_path, capfd):
    call("a red circle", "a ring", "--out", tmp_path / "out.gif")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out_0.gif", "out_0.png", "out_1.gif", "out_1.png"]
    assert f"{tmp_path / 'out_1.png'}: Video('a ring'" in capfd.readouterr().out


def test_every_argument_reaches_the_model(seen, tmp_path):
    call(
        *("a ring", "--model", "small", "--out", tmp_path / "out.webp", "--seed", "3"),
        *("--reference", "image.png", "--negative-prompt", "blue", "--fps", "4"),
        *("--steps", "1", "2", "3", "4", "--guidance", "2.5", "--sampler", "dpmpp_2m"),
        *("--guidance-rescale", "0.7", "--guidance-interval", "0.28", "5.42"),
        *("--guidance-passes", "in_turn"),
        *("--stages", "2", "--temporal-sr", "0", "--num-frames", "5", "--no-use-reference"),
        *("--interpolation", "slerp", "--no-refine", "--decoder", "image"),
        *("--refine-strength", "0.5", "--height", "32", "--width", "64", "--fit", "pad"),
        *("--keep-latents", "kept", "--start-from", "earlier", "--start-after", "stage_1"),
        *("--dtype", "bfloat16", "--offload", "--mesh", "1", "2", "4"),
    )
    assert seen == {
        "prompts": ("a ring",),
        "model": "small",
        "reference": Path("image.png"),
        "options": VideoOptions(
            seed=3,
            negative_prompt="blue",
            fps=4.0,
            steps=(1, 2, 3, 4),
            guidance=2.5,
            guidance_rescale=0.7,
            guidance_interval=(0.28, 5.42),
            guidance_passes="in_turn",
            sampler="dpmpp_2m",
            stages=2,
            temporal_sr=0,
            num_frames=5,
            use_reference=False,
            interpolation="slerp",
            refine=False,
            refine_strength=0.5,
            decoder="image",
            height=32,
            width=64,
            fit="pad",
        ),
        "progress": True,
        "keep_latents": Path("kept"),
        "start_from": Path("earlier"),
        "start_after": "stage_1",
        "dtype": "bfloat16",
        "offload": True,
        "mesh": (1, 2, 4),
    }
    given = seen["options"]
    defaults = VideoOptions()
    same = [f.name for f in fields(given) if getattr(given, f.name) == getattr(defaults, f.name)]
    # A new option must be added above. This one needs a reference.
    assert same == ["exact_reference"]


def test_without_flags_the_options_are_the_defaults(seen, tmp_path):
    call("a ring", "--out", tmp_path / "out.webp")
    assert (seen["options"], seen["reference"]) == (VideoOptions(), None)
    assert (seen["model"], seen["dtype"], seen["mesh"]) == ("shapes", "float32", (1, 1, 1))


@pytest.mark.parametrize(
    ("flags", "steps", "guidance"),
    [
        (("--steps", "30", "--guidance", "1", "2.5", "3"), 30, (1.0, 2.5, 3.0)),
        (("--steps", "30", "20", "20", "8"), (30, 20, 20, 8), None),
    ],
)
def test_one_number_or_several(seen, tmp_path, flags, steps, guidance):
    call("a ring", "--out", tmp_path / "out.webp", *flags)
    assert (seen["options"].steps, seen["options"].guidance) == (steps, guidance)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a ring", "--out", "out.avi"], "cannot write out.avi: unknown suffix '.avi'"),
        (["a ring", "--out", "/dev/null/out.mp4"], "cannot write /dev/null/out.mp4"),
        (["a ring", "--num-frames", "-4"], "num_frames is -4"),
        (["a ring", "--guidance", "nan"], "guidance is nan"),
        (["a ring", "--guidance-interval", "5", "1"], "guidance_interval is (5.0, 1.0), expected"),
        (["a ring", "--reference", "no.png"], "no image file no.png"),
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sed", "3"],
        ["--steps"],
        ["--steps", "2.5"],
        ["--guidance", "much"],
        ["--sampler", "plms"],
        ["--decoder", "none"],
        ["--dtype", "int8"],
    ],
)
def test_wrong_usage_is_exit_code_2(caches, capfd, arguments):
    with pytest.raises(SystemExit) as stopped:
        call("a ring", *arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize("flag", ["--num-inference-steps", "--num_inference_steps=3"])
def test_a_flag_of_diffusers_is_answered_with_the_right_one(seen, capfd, flag):
    with pytest.raises(SystemExit) as stopped:
        call("a ring", flag, "3")
    assert stopped.value.code == 2
    assert capfd.readouterr().err.startswith(
        f"videogen: error: there is no option {flag.partition('=')[0]}, use --steps"
    )


def test_the_script_runs_by_itself(tmp_path):
    """With an unknown model, the script starts, fails to load it and lists the models."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "sample.video", "a ring", "--model", "no-such-model"]
    command += ["--out", str(tmp_path / "out.mp4"), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "error: no model 'no-such-model'" in done.stderr


def test_only_what_out_names_is_replaced(seen, tmp_path, capfd):
    """The sheet of `cat.mp4` would be the reference `cat.png`, that of `dog.mp4` a stranger."""
    Image.new("RGB", (8, 8)).save(tmp_path / "cat.png")
    (tmp_path / "dog.png").write_bytes(b"not a picture")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for name in ("cat", "dog"):
        for _ in range(2):  # the second time both the video and its sheet are replaced
            out = tmp_path / f"{name}.mp4"
            call("a ring", "--reference", tmp_path / "cat.png", "--out", out)
    assert {path: path.read_bytes() for path in before} == before
    new = sorted(path.name for path in tmp_path.iterdir() if path not in before)
    assert new == ["cat.mp4", "cat_sheet.png", "dog.mp4", "dog_sheet.png"]
    assert f"{tmp_path / 'cat.mp4'} and {tmp_path / 'cat_sheet.png'}: " in capfd.readouterr().out


@pytest.mark.parametrize(
    ("prompts", "out", "message"),
    [
        (["a"], "cat.webp", "cat.webp: this would overwrite the input"),
        (["a", "b"], "new.mp4", "new_1.mp4 exists already, and --out .*new.mp4 does not name it"),
        (["a"], "folder", "folder: it has other files, such as notes.txt"),
        (["a"], "new.gif", ".gif plays at most 50 frames per second, this video has 64"),
        (["a"], "n" * 251 + ".webp", "File name too long"),
    ],
)
def test_outputs_are_refused_before_the_model_is_loaded(
    seen, tmp_path, capfd, prompts, out, message
):
    (tmp_path / "folder").mkdir()
    for name in ("cat.webp", "new_1.mp4", "folder/notes.txt"):
        (tmp_path / name).touch()
    flags = ("--reference", tmp_path / "cat.webp", "--fps", "32", "--temporal-sr", "1")
    with pytest.raises(SystemExit) as stopped:
        call(*prompts, "--out", tmp_path / out, *flags)
    assert stopped.value.code == 1
    assert re.search(message, capfd.readouterr().err)
    assert "model" not in seen
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == 0


def test_a_video_that_cannot_be_written_is_kept_and_the_others_are_written(
    seen, tmp_path, monkeypatch, capfd
):
    save = Video.save

    def save_unless_full(self: Video, path: Path) -> Path:
        if path.parent.name == "full" and self.prompt == "a":
            raise OSError(28, "No space left on device", str(path))
        return save(self, path)

    monkeypatch.setattr(Video, "save", save_unless_full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        call("a", "b", "--out", tmp_path / "full" / "out.webp")
    assert stopped.value.code == 1
    (kept,) = tmp_path.glob("videogen-*/result.webp")
    printed = capfd.readouterr()
    assert f"out_0.webp: No space left on device; the result is in {kept} instead" in printed.err
    assert "out_1.webp" in printed.out
    names = sorted(path.name for path in (tmp_path / "full").iterdir())
    assert names == ["out_1.png", "out_1.webp"]


@pytest.mark.parametrize("form", [("--out", "~/out.webp"), ("--out=~/out.webp",)])
def test_a_tilde_is_the_home_folder(seen, caches, tmp_path, monkeypatch, form):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "own.png")
    call(
        *("a ring", "--reference=~/own.png", "--cache-dir", "~/cache", "--model", "~/m", *form),
        *("--negative-prompt", "~/a"),
    )
    assert (tmp_path / "out.webp").is_file() and not (tmp_path / "~").exists()
    assert (seen["reference"], caches) == (tmp_path / "own.png", [tmp_path / "cache"])
    assert (seen["model"], seen["prompts"]) == (f"{tmp_path}/m", ("a ring",))
    assert seen["options"].negative_prompt == "~/a"


def test_a_prompt_that_is_not_utf_8_is_one_line(seen, tmp_path, capfd):
    with pytest.raises(SystemExit) as stopped:
        call(os.fsdecode(b"a caf\xe9"), "--out", tmp_path / "out.mp4")
    assert stopped.value.code == 1
    expected = "error: prompt is 'a caf\\udce9', which is not UTF-8 text\n"
    assert capfd.readouterr().err == expected


def test_an_image_model_is_refused_with_what_to_do(seen, monkeypatch, capfd):
    monkeypatch.setattr(sample_video, "list_components", lambda directory: list(IMAGE_COMPONENTS))
    with pytest.raises(SystemExit):
        call("a ring")
    (line,) = capfd.readouterr().err.splitlines()
    assert "there is no stage_1.safetensors, which stage 1 needs; it is an image model" in line
    assert "`videogen image`" in line and "`videogen train cascade`" in line
    assert "model" not in seen
