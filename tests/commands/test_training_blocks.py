"""The training commands of README.md and docs/training.md, in order, from an empty folder.

They run with the presets of `tiny`. The quick test replaces the compiled step by one that only
counts: everything else runs, from the command line to the components that `train.export` writes.
"""

import contextlib
import functools
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from tests.support.numbered_clips import numbered_record
from videogen_jax.commands.train import parts
from videogen_jax.configs.tiny import TINY
from videogen_jax.pipeline.model_files import load_model, save_model
from videogen_jax.training import loop
from videogen_jax.training.runs.train import train_run

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
    """Writes CLIPS and, in place of a converted Stable Diffusion, the image parts of `tiny`."""
    Path("CLIPS").mkdir()
    for number in range(4):
        record = numbered_record(f"clip {number}", 61, 30, h=64, w=64)
        Path(f"CLIPS/{number}.mp4").write_bytes(record.video)
    if convert:
        drawn = micro_model.params(TINY)
        params = {name: drawn[name] for name in IMAGE_PARTS}
        save_model("runs/model", TINY, micro_model.TOKENIZER, params)


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command with the presets and the size of clips of `tiny`."""
    line = re.sub(r" (shapes|small|paper)-", " tiny-", line).replace("--short-side 512", TINY_SIDE)
    python, option, module, *words = shlex.split(line)
    assert (python, option) == ("python", "-m")
    words += shlex.split(SMALL) if "--run-dir" in words else []
    monkeypatch.setattr(sys, "argv", [module, *words])
    runpy.run_module(module, run_name="__main__")


class CountingStep:
    """A training step that only counts the steps. It has no operations to trace."""

    def __call__(self, state: Any, frozen: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        metrics = {"loss": 1.0, "skipped": 0, "skipped_in_a_row": 0}
        return state._replace(step=state.step + 1), jax.tree.map(jnp.asarray, metrics)

    def trace(self, *arguments: Any) -> Any:
        return SimpleNamespace(jaxpr=jax.make_jaxpr(lambda: ())())


def drawn_state(task: Any, optimizer: Any, shapes: Any, *rest: Any) -> Any:
    """Returns a state of random parameters, without compiling their initialisation."""
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        value = 0.1 * rng.standard_normal(leaf.shape)  # integers, such as the step, are 0
        return jax.device_put(value.astype(leaf.dtype), leaf.sharding)

    return jax.tree.map(draw, shapes)


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Iterator[Path]:
    """An empty working directory, in which commands neither cache nor end the process."""
    on_one_device = functools.partial(train_run, devices=jax.devices()[:1])  # compiles faster
    monkeypatch.setattr(parts, "train_run", on_one_device)
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
        if "-m convert." in line or "-m sample." in line:
            others.append(line)
        else:
            run(line, monkeypatch)
    return others


@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_make_a_model_from_an_empty_folder(folder, monkeypatch, block):
    monkeypatch.setattr(loop, "jit_step", lambda *arguments: CountingStep())
    monkeypatch.setattr(loop, "begin", drawn_state)
    run_block(block, monkeypatch)
    model = load_model("runs/model")
    assert model.config == TINY and set(model.params) == BLOCKS[block]
    assert model.tokenizer(["a red circle"], 24).shape == (1, 24)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_train(folder, monkeypatch, block):
    for line in run_block(block, monkeypatch):
        if "-m sample." in line:
            run(f"{line} --steps 2", monkeypatch)
            assert Path("out.mp4").is_file()
    assert set(load_model("runs/model").params) == BLOCKS[block]
