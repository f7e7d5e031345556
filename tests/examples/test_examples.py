"""The programs in `examples/`, with the smallest model and few steps."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from examples import (
    batch_of_prompts,
    callback,
    own_sampler,
    own_sizes,
    own_task,
    several_devices,
)
from tests.support import micro_model
from videogen_jax import VideoGen
from videogen_jax.configs import RUNS
from videogen_jax.pipeline.model_files import load_model
from videogen_jax.training.runs.build import build_task
from videogen_jax.training.runs.config import RunConfig

EXAMPLES = Path(own_task.__file__).parent


def test_the_list_of_examples_is_complete():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"[{path.name}]({path.name})" in text
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 130, path


@pytest.fixture
def meshes(monkeypatch) -> list:
    """Every model that an example loads is the smallest one; the meshes that it asks for."""
    asked = []

    def load(model, *, mesh=None, dtype=None):
        asked.append(mesh)
        return micro_model.model()

    monkeypatch.setattr(VideoGen, "load", load)
    return asked


@pytest.mark.slow  # ten seconds; the test below samples, test_prompt_files.py goes on
def test_a_batch_of_prompts_goes_on_where_it_ended(meshes, monkeypatch, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n\na ring moving up\na star growing\n")
    calls = []
    sample = VideoGen.__call__

    def counted(self, prompt, **options):
        calls.append((prompt, options["seed"]))
        return sample(self, prompt, stages=1, temporal_sr=0, decoder="image", **options)

    monkeypatch.setattr(VideoGen, "__call__", counted)
    for _ in range(2):
        batch_of_prompts.main(prompts, out=tmp_path / "out", batch_size=2, steps=1)
    assert calls == [(["a red circle", "a ring moving up"], 0), (["a star growing"], 1)]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0000.mp4", "0001.mp4", "0002.mp4"]


def test_a_callback_writes_each_part_and_stops(meshes, tmp_path, capsys):
    callback.main("a red circle", out=tmp_path, steps=2, stop_after="stage 1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "reference_image.png",
        "stage_1.webp",
    ]
    assert "stopped after stage 1" in capsys.readouterr().out
    with Image.open(tmp_path / "stage_1.webp") as clip:
        assert clip.size == (8, 8) and clip.n_frames == 4


def test_devices_share_the_prompts(meshes, monkeypatch, tmp_path):
    monkeypatch.setattr(jax, "devices", lambda devices=jax.devices(): devices[:2])
    several_devices.main(out=tmp_path, steps=1)
    assert [mesh.shape["data"] for mesh in meshes] == [2]
    assert {path.name for path in tmp_path.iterdir()} == {"0.mp4", "1.mp4"}


def test_heuns_method_finds_the_known_sample():
    """For data at one point, every slope leads there: the sample is that point."""
    point = np.full((1, 1, 2, 2, 4), 0.25, np.float32)
    levels = np.array([80.0, 5.0, 0.5, 0.0], np.float32)
    found = own_sampler.heun(lambda x, level: point, 80 * np.ones_like(point), levels)
    np.testing.assert_allclose(found, point, atol=1e-5)


def test_heuns_method_is_of_second_order():
    """For normal data of variance 1, x/√(1 + σ²) is constant along the exact path."""
    start, errors = 3.0, []
    for steps in (40, 80):
        levels = np.append(np.linspace(2.0, 0.5, steps + 1), 0.0)[:-1]
        found = own_sampler.heun(lambda x, level: x / (1 + level**2), start, levels)
        errors.append(abs(found - start * np.sqrt(1.25 / 5.0)))
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_the_own_sampler_samples_the_image_model(meshes, tmp_path):
    own_sampler.main("a red circle", out=tmp_path / "heun.png", steps=2)
    with Image.open(tmp_path / "heun.png") as picture:
        assert picture.size == (16, 16)


def test_an_own_task_trains_and_resumes(tmp_path):
    own_task.main(tmp_path / "run", steps=20)
    own_task.main(tmp_path / "run", steps=30)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.slow  # ten seconds, as the one below
def test_the_model_of_other_sizes_finds_its_frozen_parts(monkeypatch, tmp_path):
    runs: list[RunConfig] = []

    def instead(run, run_dir, model_dir):
        runs.append(run)
        model = load_model(model_dir)
        assert model.config == run.model and set(model.params) == set(own_sizes.FROZEN)
        task = build_task(run, model_dir, model.tokenizer)
        shapes = jax.eval_shape(task.init, jax.random.key(0))
        assert shapes["conv_in"]["kernel"].shape[-1] == 24

    monkeypatch.setattr(own_sizes, "train_run", instead)
    monkeypatch.setattr(own_sizes, "export_run", lambda *folders: [])
    own_sizes.main(tmp_path / "run", tmp_path / "model", steps=7)
    (run,) = runs
    assert (run.steps, run.batch_size, run.model.name) == (7, 8, "mine")
    assert dataclasses.replace(
        run.model, name="shapes", image=RUNS["shapes-image"].model.image
    ) == (RUNS["shapes-image"].model)


@pytest.mark.slow  # a minute: it compiles a step of the image model
def test_the_model_of_other_sizes_trains(tmp_path):
    own_sizes.main(tmp_path / "run", tmp_path / "model", steps=2)
    assert VideoGen.load(tmp_path / "model").images("a red circle", steps=1).shape[-1] == 3


@pytest.mark.slow  # torch and diffusers; tests/pipeline/test_image_parity.py compares more
def test_diffusers_makes_the_same_picture(tmp_path):
    from examples import to_diffusers
    from tests.support.torch_stable_diffusion import SD1, build_models, save_folder
    from videogen_jax.configs.paper import PAPER
    from videogen_jax.conversion.stable_diffusion import convert_stable_diffusion

    models = build_models(SD1)
    models.unet.conv_out.weight.data *= 0.5
    save_folder(models, SD1, tmp_path / "source")
    convert_stable_diffusion(tmp_path / "source", tmp_path / "model", PAPER)
    assert to_diffusers.main(tmp_path / "model", tmp_path / "out", steps=3) <= 1.0
    assert (tmp_path / "out.png").is_file()
