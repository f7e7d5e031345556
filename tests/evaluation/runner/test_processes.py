"""Evaluations of several real processes, killed at random; and with networks of tiny sizes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import evaluating, micro_model
from tests.support.processes import run_processes
from videogen_jax.commands.sample import evaluate
from videogen_jax.evaluation.image_quality import video_psnr
from videogen_jax.evaluation.runner.blocks import collect
from videogen_jax.evaluation.runner.measures import Measure
from videogen_jax.evaluation.runner.reading import Window, read_video
from videogen_jax.evaluation.runner.sources import open_real
from videogen_jax.evaluation.statistics import Moments
from videogen_jax.models.features.i3d import I3DConfig
from videogen_jax.models.parameters import init_i3d
from videogen_jax.weights.configured import add_configured

SCRIPT = evaluating.__file__
MOMENTS = Measure(lambda: Moments.empty(3), lambda *_: None, lambda *_: {}, lambda *_: {})


def result_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "result.json").read_text())


def statistics_of(out: Path) -> list[np.ndarray]:
    parts = collect(out / "statistics" / "fvd", 70, MOMENTS)
    return [np.asarray(value) for part in parts for value in part]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    evaluating.write_real(folder / "real")
    run_processes(SCRIPT, [folder / "out", 0], folder, processes=1, devices=1)
    return folder


@pytest.mark.slow  # starts JAX in up to four processes; test_blocks.py has them in one
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_end_with_the_same_number(alone, tmp_path, processes):
    (tmp_path / "real").symlink_to(alone / "real")
    printed = run_processes(SCRIPT, [tmp_path / "out", 0], tmp_path, processes=processes, devices=1)
    shares = [int(text.split("generated ")[1].split()[0]) for text in printed]
    assert sum(shares) == 70 and min(shares) > 0
    assert result_of(tmp_path / "out") == result_of(alone / "out")
    for one, other in zip(
        statistics_of(tmp_path / "out"), statistics_of(alone / "out"), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=0)


@pytest.mark.slow  # starts JAX six times; test_evaluate.py interrupts an evaluation in one process
def test_killed_five_times_it_ends_with_the_same_number(alone, tmp_path):
    (tmp_path / "real").symlink_to(alone / "real")
    rng, command = random.Random(0), [sys.executable, SCRIPT, str(tmp_path / "out"), "0.04"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}

    def progress() -> int:
        return sum(1 for _ in (tmp_path / "out").rglob("*.npz")) + sum(
            1 for _ in (tmp_path / "out" / "videos").glob("0*")
        )

    stops = []
    for _ in range(5):
        before = progress() if (tmp_path / "out").exists() else 0
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [*command, "", "1", "0"], env=environment, stdout=log, stderr=log
            )
        while progress() < before + 20:
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out" / "result.json").exists()
        stops.append(progress())
    assert len(set(stops)) == 5
    subprocess.run([*command[:-1], "0", "", "1", "0"], env=environment, check=True)
    assert result_of(tmp_path / "out") == result_of(alone / "out")


@pytest.mark.slow  # compiles I3D for eight devices; test_measures.py has every metric without one
def test_a_tiny_i3d_scores_a_folder_on_eight_devices(tmp_path):
    block = (2, 2, 2, 2, 2, 2)
    config = I3DConfig(stem=(2, 2, 2), levels=((block,), (block,), (block,)), num_classes=3)
    params = jax.tree.map(np.asarray, init_i3d(jax.random.key(0), config))
    add_configured(tmp_path / "networks", "i3d", config, params, None)
    evaluating.write_real(tmp_path / "real", 16, frames=9)
    changes = {"num_videos": 16, "real_videos": 16, "scored_frames": 9, "scoring_batch": 8}
    one = evaluating.evaluation(
        tmp_path / "out", tmp_path / "real", networks=tmp_path / "networks", **changes
    )
    one.score(tmp_path / "real")
    score = result_of(tmp_path / "out")["scores"]["fvd"]
    # The same videos in another order.
    assert score["value"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow  # compiles a model for eight devices; tests/commands/test_evaluate.py has none
def test_a_model_is_evaluated_on_eight_devices(tmp_path):
    model, real = micro_model.model(), open_real("shapes", Window(4, resolution=16), 3)
    alone = [
        model(real.caption(index), seed=5 + index, steps=1, temporal_sr=0).frames
        for index in range(3)
    ]
    model.save(tmp_path / "model")
    line = f"--model {tmp_path}/model --real shapes --protocol shapes --metrics psnr --steps 1"
    line += f" --scored-frames 4 --resolution 16 --num-videos 3 --out {tmp_path}/out"
    evaluate.call("videogen", [*line.split(), "--real-videos", "3", "--seed", "5"])
    saved = [
        read_video(tmp_path / "out" / "videos" / f"{index:06d}", Window(4), index)
        for index in range(3)
    ]
    # A level of 255: the order of sums differs between one and eight devices.
    assert np.abs(np.subtract(saved, alone, dtype=int)).max() <= 1
    truths = np.stack([real.video(index) for index in range(3)])
    expected = np.mean([video_psnr(a, b) for a, b in zip(saved, truths, strict=True)])
    assert result_of(tmp_path / "out")["scores"]["psnr"]["value"] == pytest.approx(expected)
