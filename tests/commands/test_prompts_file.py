"""The command line `python -m sample.video --prompts-file F --out-dir D`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import Video, VideoGen, VideoOptions
from videogen_jax.commands.sample import prompts_file
from videogen_jax.commands.sample import video as sample_video
from videogen_jax.pipeline.model_files import save_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def seen(monkeypatch, tmp_path) -> list[dict[str, Any]]:
    """The arguments of each call of the model, which returns black videos."""
    calls: list[dict[str, Any]] = []
    (tmp_path / "micro").mkdir()
    (tmp_path / "micro" / "manifest.json").write_text("{}")
    (tmp_path / "p.txt").write_text("a red circle\na ring\n")

    def load(name: str, *, mesh: jax.sharding.Mesh, dtype: str, offload: bool) -> Any:
        def model(prompts: list[str], **options: Any) -> list[Video]:
            calls.append({**options, "prompts": prompts, "mesh": tuple(mesh.shape.values())})
            return [Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, text) for text in prompts]

        return model

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(VideoGen, "load", load)
    monkeypatch.setattr(sample_video, "read_model_config", micro_model.read_config)
    monkeypatch.setattr(sample_video, "enable_compilation_cache", lambda directory: None)
    monkeypatch.setattr(prompts_file, "list_components", lambda directory: micro_model.params())
    return calls


def call(*arguments: str | Path) -> None:
    words = ("--model", "micro", "--out-dir", "out", *arguments)
    sample_video.call("videogen", [str(word) for word in words])


def test_each_line_becomes_a_video_once(seen, tmp_path, capfd):
    arguments = ("--prompts-file", "p.txt", "--files", "gif", "--seed", "3", "--stages", "1")
    call(*arguments, "--batch-size", "2", "--mesh", "2", "1", "2")
    assert seen == [
        {
            "prompts": ["a red circle", "a ring"],
            "mesh": (2, 1, 2),
            "reference": None,
            "options": VideoOptions(stages=1, seed=(3, 4), negative_prompt=("", "")),
            "progress": True,
        }
    ]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00000.gif", "00001.gif", "manifest.jsonl", "request.json"]
    call(*arguments)
    assert len(seen) == 1
    assert capfd.readouterr().out.endswith("out has 2 of 2 videos\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a ring", "--prompts-file", "p.txt"], "there are prompts and --prompts-file"),
        (["--prompts-file", "q.txt"], "no file of prompts q.txt"),
        (["--prompts-file", "p.txt", "--steps", "0"], "steps is 0"),
        (["--prompts-file", "p.txt", "--batch-size", "0"], "batch_size is 0"),
        (["--prompts-file", "p.txt", "--reference", "x.png"], "no image file x.png"),
        (["--prompts-file", "p.txt", "--mesh", "9", "1", "1"], "mesh data=9, fsdp=1, frames=1"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(seen, tmp_path, capfd, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert stopped.value.code == 1
    assert f"error: {message}" in capfd.readouterr().err
    assert not seen and not list((tmp_path).glob("out/*.mp4"))


def test_a_mesh_of_the_processes_own_devices_unless_it_is_too_large(monkeypatch):
    assert prompts_file.mesh_of((1, 2, 2), local=True).size == 4
    assert prompts_file.mesh_of((1, -1, 2), local=True).size == 8
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="does not multiply to the 8 devices"):
        prompts_file.mesh_of((1, 2, 2))  # it would leave a process without devices


COUNT = 64


def start(model: Path, out: Path, processes: int) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "sample.video", "--model", model, "--out-dir", out]
    command += ["--prompts-file", out.parent / "p.txt", "--cache-dir", out.parent / "cache"]
    command += ["--temporal-sr", "0", "--steps", "2"]
    shared = ["--distributed.coordinator-address", address]
    shared += ["--distributed.num-processes", str(processes), "--distributed.process-id"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    log = (out.parent / "log.txt").open("a")
    return [
        subprocess.Popen(
            [*map(str, command), *([*shared, str(number)] if processes > 1 else [])],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        for number in range(processes)
    ]


def finish(processes: list[subprocess.Popen], out: Path) -> None:
    codes = [process.wait(timeout=900) for process in processes]
    assert not any(codes), (out.parent / "log.txt").read_text()[-4000:]


@pytest.mark.slow  # makes 128 videos in 8 processes
def test_two_processes_that_are_killed_five_times_make_each_video_once(tmp_path):
    """The videos are those of an uninterrupted run of one process, byte by byte."""
    model, whole, killed = tmp_path / "model", tmp_path / "whole", tmp_path / "killed"
    micro = micro_model.MICRO, micro_model.TOKENIZER, micro_model.params()
    save_model(model, *micro)
    (tmp_path / "p.txt").write_text("".join(f"a ring {i}\n" for i in range(COUNT)))
    finish(start(model, whole, 1), whole)
    for kills in range(1, 6):
        processes = start(model, killed, 2)
        deadline = time.monotonic() + 600
        while len(list(killed.glob("*.mp4"))) < 10 * kills and time.monotonic() < deadline:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.05)
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
    assert 50 <= len(list(killed.glob("*.mp4"))) < COUNT
    finish(start(model, killed, 2), killed)
    entries = [json.loads(line) for line in (killed / "manifest.jsonl").read_text().splitlines()]
    assert [entry["index"] for entry in entries] == list(range(COUNT))
    for name in [f"{index:05d}.mp4" for index in range(COUNT)] + ["manifest.jsonl"]:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    shutil.rmtree(tmp_path / "cache")
