"""The training commands of a tutorial and docs/paper.md, in order, from an empty folder.

They run with the presets of `tiny`. The quick test replaces what compiles: a run loads what it
reads, latents are zeros, `train.export` writes random parameters, and a video is black. The slow
test computes everything.
"""

import contextlib
import functools
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import jax
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax.commands.convert import stable_diffusion
from videogen_jax.commands.sample import video as sample_video
from videogen_jax.commands.train import cache_latents, export, parts
from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.configs.paper import PAPER
from videogen_jax.configs.tiny import TINY
from videogen_jax.data.latents.layout import CacheLayout
from videogen_jax.data.latents.shards import Encoders
from videogen_jax.data.loader import make_loader
from videogen_jax.media.video import Video
from videogen_jax.models.features.loading import load_pixel_flow
from videogen_jax.pipeline.model_files import load_model
from videogen_jax.tokenizer import load_tokenizer
from videogen_jax.training.latents import making
from videogen_jax.training.latents.opening import open_cache
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.runs.tokenizer import tokenizer_of
from videogen_jax.training.runs.train import train_run, with_model_of
from videogen_jax.weights.config_file import load_config, save_config
from videogen_jax.weights.manifest import record_files
from videogen_jax.weights.model_dir import list_components, save_component

ROOT = Path(__file__).parents[2]
SMALL = {
    "--steps": "2",
    "--batch-size": "2",
    "--data.examples": "16",
    "--data.num-threads": "0",
    "--loop.sample-every": "0",
}
TINY_SIZES = {  # by what is on the page
    "--short-side 512 --min-side 512": "--short-side 64 --min-side 64",
    "--num-frames 31 --resolutions 512": "--num-frames 7 --resolutions 32",
    "--resolutions 128": "--resolutions 8 --resolution 32",
    "--epochs 16": "--epochs 2",
}
IMAGE_PARTS = ("autoencoder", "image_unet", "text_encoder")
VIDEO_PARTS = ("flow", "refiner", "stage_1", "stage_2", "stage_3", "video_decoder")
PAGE = "docs/paper.md"
BLOCKS = {
    "docs/tutorials/train_a_model.md, From an empty folder": {*IMAGE_PARTS, "stage_1"},
    PAGE: {*IMAGE_PARTS, *VIDEO_PARTS},
}
MODULES = """
    convert.stable_diffusion convert.ifrnet train.ingest train.inspect train.cascade train.export
    train.temporal_sr train.cache_latents train.video_decoder sample.video convert.to_diffusers
"""
FRAMES = 25  # of 4 in three rounds


def commands(block: str) -> list[str]:
    """Returns the indented commands of a page, or of the first block below a heading."""
    file, _, heading = block.partition(", ")
    text = (ROOT / file).read_text(encoding="utf-8")
    if heading:
        text = text.split(f"\n## {heading}\n")[1]
        text = re.split(r"\n\n(?! {4})", text[text.index("    python -m ") :])[0]
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in joined.splitlines() if line.startswith("    ")]
    return [line for line in lines if not line.startswith("python -m pip ")]


def test_the_page_has_every_step_in_order():
    modules = [line.split()[2] for line in commands(PAGE)]
    assert list(dict.fromkeys(modules)) == MODULES.split()
    runs = [line.split()[3] for line in commands(PAGE) if "--run-dir" in line]
    stages = [f"paper-stage-{number}" for number in (1, 2, 3)]
    later = ["paper-flow", "paper-refiner", "paper-video-decoder"]
    assert runs == [*stages, *later, "paper-stage-1"]


def paper_in_tiny() -> ModelConfig:
    """Returns `tiny` with the noise schedule of `paper`, which diffusers can express."""

    def scheduled(denoiser: DenoiserConfig) -> DenoiserConfig:
        return replace(denoiser, schedule=PAPER.image.schedule)

    stages = tuple(map(scheduled, TINY.stages))
    return replace(TINY, stages=stages, refiner=scheduled(TINY.refiner))


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command with the presets and the sizes of `tiny`."""
    line = re.sub(r" (shapes|small|paper)-", " tiny-", line)
    for theirs, ours in TINY_SIZES.items():
        line = line.replace(theirs, ours)
    python, option, module, *words = shlex.split(line)
    assert (python, option) == ("python", "-m")
    for name, value in SMALL.items() if "--run-dir" in words else ():
        if name in words:
            words[words.index(name) + 1] = value
        else:
            words += [name, value]
    monkeypatch.setattr(sys, "argv", [module, *words])
    runpy.run_module(module, run_name="__main__")


def begin_without_training(
    config: RunConfig, run_dir: Path, model_dir: Path, **options: Any
) -> None:
    """Stands for `train_run`: finds everything that the run reads, and loads a batch."""
    config = with_model_of(config, model_dir, agreed=options["model_from"] == "dir")
    tokenizer = tokenizer_of(config.model, model_dir)
    needed = {*config.task.frozen_components(), getattr(config.task, "warm_start", "")} - {""}
    assert needed <= set(list_components(model_dir)), config.task
    if teacher := getattr(config.task, "teacher", ""):
        load_pixel_flow(teacher)
    source, length = open_cache(config, model_dir), config.model.text_encoder.max_length
    if source is not None:
        next(make_loader(source, config.batch_size, 0, num_threads=0))
    else:
        source = make_source(config, "train")
        next(make_loader(source, config.batch_size, 0, tokenizer, length, num_threads=0))
    save_config(run_dir / "config.json", config)
    (run_dir / "model_dir").write_text(str(model_dir))


def export_random(run_dir: Path, model_dir: Path, *rest: Any, **options: Any) -> list[str]:
    """Stands for `export_run`: writes random parameters of the run's component."""
    config = load_config(run_dir / "config.json", RunConfig)
    if not model_dir.exists():
        shutil.copytree((run_dir / "model_dir").read_text(), model_dir)
    save_config(model_dir / "config.json", config.model)
    name = config.task.component()
    save_component(model_dir, name, micro_model.params(config.model, name)[name])
    record_files(model_dir)
    return [name]


def zero_encoders(
    model: ModelConfig, directory: Path, layout: CacheLayout, mesh: Any, batch: int
) -> Encoders:
    """Stands for `latents.encoders.frozen_encoders`."""
    tokenizer, (length, width) = load_tokenizer(directory / "tokenizer"), layout.text

    def latents(video_BFHW3: np.ndarray) -> dict[int, np.ndarray]:
        clips = len(video_BFHW3)
        return {size: np.zeros((clips, 2, *shape)) for size, shape in layout.latents.items()}

    def text(tokens_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(tokens_BT), length, width)), np.zeros((len(tokens_BT), width))

    return Encoders(latents, lambda captions: tokenizer(captions, length), text, batch)


class BlackVideos:
    """Stands for `VideoGen`, with black frames; the command itself checks the model's parts."""

    @classmethod
    def load(cls, directory: str, **options: Any) -> "BlackVideos":
        return cls()

    def __call__(self, prompts: list[str], **options: Any) -> list[Video]:
        frames = np.zeros((FRAMES, 32, 32, 3), np.uint8)
        return [Video(frames, 8.0, prompt, reference=frames[0]) for prompt in prompts]


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Iterator[Path]:
    """An empty working directory, in which commands neither cache nor end the process."""
    monkeypatch.setattr(parts, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(parts, "ending_at_once", contextlib.nullcontext)
    monkeypatch.setattr(cache_latents, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(cache_latents, "ending_at_once", contextlib.nullcontext)
    monkeypatch.setattr(sample_video, "enable_compilation_cache", lambda directory: None)
    monkeypatch.setattr(stable_diffusion, "PAPER", paper_in_tiny())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_block(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the commands of a block, and checks that its model is complete."""
    if block == PAGE:
        from tests.support.paper_sources import write_sources  # torch and diffusers are heavy

        write_sources()
    for line in commands(block):
        run(line, monkeypatch)
    assert set(list_components(Path("runs/model"))) == BLOCKS[block]


def check_results() -> None:
    """Checks what the page's last commands have written."""
    with av.open("out.mp4") as file:
        assert sum(1 for _ in file.decode(video=0)) == FRAMES
    assert Path("ucf101.mp4").is_file()
    assert set(list_components(Path("runs/model-ucf101"))) == BLOCKS[PAGE]
    for name in ("diffusers", "diffusers-stage-3"):
        assert (Path("runs") / name / "model_index.json").is_file()


# Of the page, 13 seconds: `.ci/run` runs it. It takes more parts through the tutorial's commands.
@pytest.mark.parametrize(
    "block", [pytest.param(b, marks=pytest.mark.slow) if b == PAGE else b for b in BLOCKS]
)
def test_the_commands_make_a_model_from_an_empty_folder(folder, monkeypatch, block):
    monkeypatch.setattr(parts, "train_run", begin_without_training)
    monkeypatch.setattr(export, "export_run", export_random)
    monkeypatch.setattr(making, "frozen_encoders", zero_encoders)
    monkeypatch.setattr(sample_video, "VideoGen", BlackVideos)
    run_block(block, monkeypatch)
    model = load_model("runs/model")
    if block == PAGE:
        assert model.config.name == "model"
        check_results()
    else:
        assert model.config == TINY
        assert model.tokenizer(["a red circle"], 24).shape == (1, 24)


@pytest.mark.slow  # minutes: seven runs compile their steps, and sampling its networks
@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_train(folder, monkeypatch, block):
    on_one_device = functools.partial(train_run, devices=jax.devices()[:1])  # compiles faster
    monkeypatch.setattr(parts, "train_run", on_one_device)
    run_block(block, monkeypatch)
    if block == PAGE:
        check_results()
