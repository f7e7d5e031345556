"""The training commands of README.md and docs/training.md, in order, from an empty folder.

They run with the presets of `tiny`. The quick test replaces the training of a run: it loads what
the run reads, and `train.export` writes random parameters. The slow test trains.
"""

import contextlib
import functools
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
import torch

from tests.support import micro_model, torch_ifrnet
from tests.support.numbered_clips import numbered_record
from videogen_jax.commands.train import export, parts
from videogen_jax.configs.tiny import TINY
from videogen_jax.data.loader import make_loader
from videogen_jax.models.features.loading import load_pixel_flow
from videogen_jax.pipeline.model_files import load_model, save_model
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.runs.tokenizer import tokenizer_of
from videogen_jax.training.runs.train import train_run, with_model_of
from videogen_jax.weights.config_file import load_config, save_config
from videogen_jax.weights.model_dir import list_components, save_component

ROOT = Path(__file__).parents[2]
SMALL = "--steps 2 --batch-size 2 --data.examples 16 --data.num-threads 0 --loop.sample-every 0"
TINY_SIDE = "--short-side 64 --min-side 64"
IMAGE_PARTS = ("autoencoder", "image_unet", "text_encoder")
VIDEO_PARTS = ("flow", "refiner", "stage_1", "stage_2", "stage_3", "video_decoder")
BLOCKS = {
    "README.md, Training": {*IMAGE_PARTS, "stage_1"},
    "docs/training.md, From Stable Diffusion to your own model": {*IMAGE_PARTS, *VIDEO_PARTS},
}


def commands(block: str) -> list[str]:
    """Returns the commands of the first indented block below a heading, one per item."""
    file, heading = block.split(", ")
    text = (ROOT / file).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    lines = text[text.index("    python -m ") :].splitlines()
    end = next(i for i, line in enumerate(lines) if line and not line.startswith("    "))
    joined = "\n".join(lines[:end]).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def write_sources(convert: bool) -> None:
    """Writes CLIPS and, in place of a converted Stable Diffusion, the image parts of a model."""
    Path("CLIPS").mkdir()
    for number in range(4):
        record = numbered_record(f"clip {number}", 61, 30, h=64, w=64)
        Path(f"CLIPS/{number}.mp4").write_bytes(record.video)
    if convert:
        params = micro_model.params(TINY, *IMAGE_PARTS)
        save_model("runs/model", TINY, micro_model.TOKENIZER, params)
        torch.manual_seed(0)
        teacher = torch_ifrnet.IFRNet((6, 7, 8, 9), 5, 3)
        torch.save(teacher.state_dict(), "IFRNet.pth")


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command with the presets and the size of clips of `tiny`."""
    line = re.sub(r" (shapes|small|paper)-", " tiny-", line).replace("--short-side 512", TINY_SIDE)
    python, option, module, *words = shlex.split(line)
    assert (python, option) == ("python", "-m")
    words += shlex.split(SMALL) if "--run-dir" in words else []
    monkeypatch.setattr(sys, "argv", [module, *words])
    runpy.run_module(module, run_name="__main__")


def begin_without_training(
    config: RunConfig, run_dir: Path, model_dir: Path, **options: Any
) -> None:
    """Stands for `train_run`: finds everything that the run reads, and loads a batch."""
    config = with_model_of(config, model_dir)
    tokenizer = tokenizer_of(config.model, model_dir)
    needed = {*config.task.frozen_components(), getattr(config.task, "warm_start", "")} - {""}
    assert needed <= set(list_components(model_dir)), config.task
    if teacher := getattr(config.task, "teacher", ""):
        load_pixel_flow(teacher)
    source, length = make_source(config, "train"), config.model.text_encoder.max_length
    next(make_loader(source, config.batch_size, 0, tokenizer, length, num_threads=0))
    save_config(run_dir / "config.json", config)


def export_random(run_dir: Path, model_dir: Path, *rest: Any, **options: Any) -> list[str]:
    """Stands for `export_run`: writes random parameters of the run's component."""
    config = load_config(run_dir / "config.json", RunConfig)
    save_config(model_dir / "config.json", config.model)
    name = config.task.component()
    save_component(model_dir, name, micro_model.params(config.model, name)[name])
    return [name]


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Iterator[Path]:
    """An empty working directory, in which commands neither cache nor end the process."""
    monkeypatch.setattr(parts, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(parts, "ending_at_once", contextlib.nullcontext)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_block(block: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs the commands of a block but the conversion and sampling; returns those."""
    others = []
    converts = any("convert." in line for line in commands(block))
    write_sources(converts)
    for line in commands(block):
        if "-m convert.stable_diffusion" in line or "-m sample." in line:
            others.append(line)
        else:
            run(line, monkeypatch)
    return others


@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_make_a_model_from_an_empty_folder(folder, monkeypatch, block):
    monkeypatch.setattr(parts, "train_run", begin_without_training)
    monkeypatch.setattr(export, "export_run", export_random)
    run_block(block, monkeypatch)
    model = load_model("runs/model")
    assert model.config == TINY and set(model.params) == BLOCKS[block]
    assert model.tokenizer(["a red circle"], 24).shape == (1, 24)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_train(folder, monkeypatch, block):
    on_one_device = functools.partial(train_run, devices=jax.devices()[:1])  # compiles faster
    monkeypatch.setattr(parts, "train_run", on_one_device)
    for line in run_block(block, monkeypatch):
        if "-m sample." in line:
            run(f"{line} --steps 2", monkeypatch)
            assert Path("out.mp4").is_file()
    assert set(load_model("runs/model").params) == BLOCKS[block]
