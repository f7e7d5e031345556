"""The conversion commands: exit codes, error messages, and directories that are complete or absent.

Most tests run the commands within this process; one runs each of them in its own process.
"""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests.support.hostile_pickles import making_folder
from tests.support.torch_stable_diffusion import SD1, build_models, save_folder
from videogen_jax.weights import model_dir as model_dirs
from videogen_jax.weights.model_dir import list_components, load_component

ROOT = Path(__file__).parents[2]
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "source"
    save_folder(build_models(SD1), SD1, folder)
    return folder


@pytest.fixture
def source(plain, tmp_path) -> Path:
    """A copy of the folder for a test to damage."""
    return Path(shutil.copytree(plain, tmp_path / "source"))


@pytest.fixture
def run_command(monkeypatch, capsys) -> Callable[..., tuple[int | str | None, str]]:
    """Runs a command in this process; returns its exit code and its output on stderr."""

    def run(name: str, *arguments: object) -> tuple[int | str | None, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(ROOT / "convert" / f"{name}.py"), run_name="__main__")
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def process(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def edit_weights(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def truncated(source: Path) -> None:
    (source / UNET).write_bytes((source / UNET).read_bytes()[:-8])


def lying_header(source: Path) -> None:
    content = (source / UNET).read_bytes()
    lie = content.replace(b'"shape":[16,4,3,3]', b'"shape":[16,4,3,9]', 1)
    assert lie != content
    (source / UNET).write_bytes(lie)


def code(source: Path) -> None:
    (source / UNET).unlink()
    pickled = {"conv_in.bias": making_folder(source.parent / "executed")}
    torch.save(pickled, (source / UNET).with_suffix(".bin"))


def no_vae(source: Path) -> None:
    shutil.rmtree(source / "vae")


def wrong_shape(source: Path) -> None:
    edit_weights(source / UNET, lambda w: w.update({"conv_in.bias": np.zeros(3, np.float32)}))


def xl(source: Path) -> None:
    path = source / "model_index.json"
    index = json.loads(path.read_text()) | {"text_encoder_2": ["transformers", "CLIPTextModel"]}
    path.write_text(json.dumps(index))


def not_finite(source: Path) -> None:
    edit_weights(source / UNET, lambda w: w.update({"conv_in.bias": w["conv_in.bias"] * np.nan}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, f"{UNET} is not a safetensors file"),
        (lying_header, f"{UNET} is not a safetensors file"),
        (code, "none of its code was run"),
        (no_vae, "the folder vae is missing"),
        (wrong_shape, "! conv_in.bias has shape (3,), expected (16,)"),
        (xl, "is Stable Diffusion XL"),
        (not_finite, "conv_in.bias has NaN or infinity"),
    ],
)
def test_bad_folders(source, run_command, tmp_path, spoil, message):
    spoil(source)
    check_refusal(run_command("stable_diffusion", source, tmp_path / "model"), message)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def check_refusal(result: tuple[int | str | None, str], message: str) -> None:
    status, errors = result
    assert status == 1
    assert errors.startswith("error: ") and errors.count("error: ") == 1
    assert message in errors and "Traceback" not in errors


def test_bad_single_files(source, run_command, tmp_path):
    path, options = tmp_path / "x.safetensors", ("--tokenizer", source / "tokenizer")
    save_file({"conditioner.embedders.0.x": np.ones(1)}, path)
    convert = ("stable_diffusion", path, tmp_path / "model")
    check_refusal(run_command(*convert, *options), f"{path} is Stable Diffusion XL")
    path.write_bytes(path.read_bytes()[:-3])
    check_refusal(run_command(*convert, *options), f"{path} is not a safetensors file")
    names = ["model.diffusion_model.x", "first_stage_model.x", "cond_stage_model.transformer.x"]
    save_file(dict.fromkeys(names, np.ones(1)), path)
    check_refusal(run_command(*convert, *options), f"{path} is no Stable Diffusion 1 or 2")
    check_refusal(run_command(*convert), f"{path} has no tokenizer in it")
    assert not (tmp_path / "model").exists()


def test_no_space(source, run_command, tmp_path, monkeypatch):
    def full(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_dirs, "save_file", full)
    message = "No space left on device"
    check_refusal(run_command("stable_diffusion", source, tmp_path / "model"), message)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_wrong_usage(source, run_command, tmp_path):
    assert run_command("stable_diffusion", source)[0] == 2
    assert run_command("stable_diffusion", source, tmp_path / "model", "--dtype", "int8")[0] == 2
    assert run_command("to_diffusers", source)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_export_of_what_is_no_model(source, run_command, tmp_path):
    for missing, message in [(source, "no component 'text_encoder'"), (tmp_path / "x", "no model")]:
        check_refusal(run_command("to_diffusers", missing, tmp_path / "out"), message)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_as_processes(source, run_command, tmp_path):
    model, out, path = tmp_path / "model", tmp_path / "out", tmp_path / "x.ckpt"
    torch.save({"state_dict": {"x": making_folder(tmp_path / "executed")}}, path)
    tokenizer = ("--tokenizer", source / "tokenizer")
    refused = process("convert.stable_diffusion", path, model, *tokenizer)
    check_refusal((refused.returncode, refused.stderr), f"{path} is not a pickle of tensors only")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "x.ckpt"}

    assert run_command("stable_diffusion", source, model) == (0, "")
    done = process("convert.to_diffusers", model, out)
    assert (done.returncode, done.stderr) == (0, "")
    assert (out / UNET).read_bytes() == (source / UNET).read_bytes()


_KILLED = """
import os, runpy, signal, sys
from videogen_jax.weights import model_dir

save = model_dir.save_file

def killed(arrays, path, metadata):
    save(arrays, path, metadata)
    if "image_unet" in path.name:
        path.write_bytes(path.read_bytes()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)

model_dir.save_file = killed
runpy.run_path("convert/stable_diffusion.py", run_name="__main__")
"""


def test_a_killed_conversion_leaves_no_model_and_does_not_disturb_the_next(
    source, tmp_path, run_command
):
    model = tmp_path / "model"
    command = [sys.executable, "-c", _KILLED, source, model]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    leftovers = {path.name for path in tmp_path.iterdir()} - {"source"}
    assert not model.exists() and len(leftovers) == 1
    (left,) = (tmp_path / name for name in leftovers)
    assert left.name.startswith(".model.")
    assert {"text_encoder.safetensors", "manifest.json"} <= {path.name for path in left.iterdir()}

    assert run_command("stable_diffusion", source, model) == (0, "")
    assert list_components(model) == ["autoencoder", "image_unet", "text_encoder"]
    for name in list_components(model):
        load_component(model, name, check_finite=True)
    assert sorted(path.name for path in model.iterdir() if path.name.startswith(".")) == []
