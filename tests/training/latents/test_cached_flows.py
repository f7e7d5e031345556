"""The flow trains from a latent cache as from pixels, with its teacher's flows or without any."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import cached_training, micro_model, tiny_model
from videogen_jax import layout as activations
from videogen_jax import sharding
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.models.parameters import init_flow
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.latents.encoders import flow_encoder
from videogen_jax.training.latents.making import CacheOptions, make_cache
from videogen_jax.training.latents.opening import cached_source, open_cache
from videogen_jax.training.losses.flow import FlowLossConfig
from videogen_jax.training.runs.build import abstract_task, batch_shapes, build_task
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import make_source
from videogen_jax.training.tasks import flow
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.weights.configured import add_configured

FRAMES = 5
ATOL = 1e-4  # latents and flows of two compiled programs
LOSS_RTOL = 1e-5
OPTIONS = dataclasses.replace(
    cached_training.OPTIONS, num_frames=FRAMES, resolutions=(16,), epochs=2, clips_per_shard=6
)
TEACHER = dataclasses.replace(micro_model.MICRO.flow, in_channels=3)
BATCH = 8


def write_teacher(directory: Path, seed: int = 5, config: Any = TEACHER) -> str:
    params = tiny_model.random_params(lambda key: init_flow(key, config), seed)
    add_configured(directory, "pixel_flow", config, params, None)
    return str(directory)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `clips`, of which 11 are for training, `model`, `teacher` and `cache`."""
    folder = tmp_path_factory.mktemp("flows")
    clips = cached_training.write_clips(folder / "clips")
    model = cached_training.write_model(folder / "model")
    options = dataclasses.replace(OPTIONS, teacher=write_teacher(folder / "teacher"))
    make_cache(clips, model, folder / "cache", options, jax.devices()[:1])
    return folder


def run_of(
    folder: Path, cache: Path | str, teacher: Path | str | None = None, **fields: Any
) -> RunConfig:
    """Returns a run with the teacher of the folder, another one, or ("") none."""
    directory = str(folder / "teacher" if teacher is None else teacher)
    loss = FlowLossConfig(census_patch_size=3, photometric_weight=0.0)
    task = FlowTaskConfig(loss, directory, **fields)
    config = cached_training.run_of(task, folder, cache, num_frames=FRAMES)
    return dataclasses.replace(config, batch_size=BATCH)


# The same training


def recorded(config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns what the flow network and its loss receive in two batches, of two epochs."""
    seen: dict[str, Any] = {}

    class Network:
        def apply(self, variables: Any, *inputs: Any, method: str = "inputs") -> None:
            seen[method] = inputs

    def loss(output: Any, target: Any, features: Any, flows: Any, config: Any) -> Any:
        seen.update(target=target, flows=flows)
        return 0.0, {}

    with monkeypatch.context() as patch:
        patch.setattr(flow, "LatentFlow", lambda *_: Network())
        patch.setattr(flow, "flow_loss", loss)
        cache = open_cache(config, folder / "model")
        task = build_task(config, folder / "model", micro_model.TOKENIZER, cache)
        batches = cached_training.batches_of(config, cache)

        @jax.jit
        def run(frozen: Any, batch: Any) -> Any:
            task.loss({}, frozen, batch, None)  # type: ignore[arg-type]
            return dict(seen)

        return [run(task.frozen, next(batches)) for _ in range(2)]


def test_the_flow_receives_the_same_inputs_as_from_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    pixels, cached = (
        recorded(run_of(folder, cache), folder, monkeypatch) for cache in ("", folder / "cache")
    )
    side = micro_model.MICRO.latent_size(16)
    for expected, found in zip(pixels, cached, strict=True):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(y, x, atol=ATOL), expected, found)
        assert found["flows"][0].shape == (BATCH, side, side, 2)
        assert all(np.abs(flow_BHW2).max() > 100 * ATOL for flow_BHW2 in found["flows"])
        assert np.abs(found["flows"][0] - found["flows"][1]).max() > 100 * ATOL
    times = {float(time) for found in cached for time in found["inputs"][2]}
    assert times == {0.25, 0.5, 0.75}


@pytest.mark.slow  # compiles the loss of the flow and its gradient twice
def test_a_run_from_the_cache_is_the_run_from_pixels(folder: Path):
    """The quick test compares the inputs of the network and of the loss."""
    losses, kernels = [], []
    for cache in ("", folder / "cache"):
        config = run_of(folder, cache)
        found, params = cached_training.train(
            config, folder / "model", "flow", 2, "decoder1/conv_out/"
        )
        losses.append(found)
        kernels.append(params["decoder1"]["conv_out"]["kernel"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=LOSS_RTOL)
    np.testing.assert_allclose(kernels[1], kernels[0], atol=ATOL)
    start = micro_model.params()["flow"]["decoder1"]["conv_out"]["kernel"]
    assert np.abs(kernels[0] - start).max() > 10 * ATOL


def test_both_start_from_the_teacher(folder: Path, tmp_path: Path):
    """Only a new run reads the teacher's parameters when it trains from a cache."""
    started = []
    for cache in ("", folder / "cache"):
        config = run_of(folder, cache)
        opened = open_cache(config, folder / "model")
        task = build_task(config, folder / "model", micro_model.TOKENIZER, opened)
        shapes = jax.eval_shape(task.init, tiny_model.key())
        started.append(jax.tree.leaves(task.warm_start(shapes)))
        assert ("pixel_flow" in task.frozen) == (cache == "")
    copied = [
        np.testing.assert_array_equal(a, b)
        for a, b in zip(*started, strict=True)
        if not isinstance(a, jax.ShapeDtypeStruct)
    ]
    assert copied and sum(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in started[1]) < 10


def test_a_run_without_a_teacher_has_no_target_flows(folder: Path):
    """With or without flows in the cache."""
    config = run_of(folder, folder / "cache", "")
    cache = open_cache(config, folder / "model")
    assert cache is not None and not cache.has_flows and LatentCache(folder / "cache").has_flows
    found = cached_source(config, cache).at(3, 1)  # type: ignore[attr-defined]
    expected = make_source(run_of(folder, "", ""), "train").at(3, 1)  # type: ignore[union-attr]
    assert found.keys() == {"index", "fps", "time", "latents_16"}
    assert all(found[name] == expected[name] for name in ("index", "fps", "time"))


@pytest.mark.parametrize("teacher", ["nowhere", ""])
def test_it_is_planned_without_reading_cache_or_teacher(folder: Path, teacher: str):
    config = run_of(folder, "elsewhere", teacher)
    task, planned = abstract_task(config), batch_shapes(config)
    assert task.frozen == {}
    there = run_of(folder, folder / "cache", teacher and folder / "teacher")
    batch = next(cached_training.batches_of(there, open_cache(there, folder / "model")))
    assert {k: (v.shape, v.dtype) for k, v in planned.items()} == {
        k: (v.shape, v.dtype) for k, v in batch.items()
    }
    shapes = jax.eval_shape(task.init, tiny_model.key())
    _, metrics = jax.eval_shape(task.loss, shapes, task.frozen, planned, tiny_model.key())
    assert ("distillation" in metrics) == bool(teacher)


# The same cache


def test_two_devices_give_the_same_flows(folder: Path):
    cache, source = LatentCache(folder / "cache"), make_source(run_of(folder, ""), "train")
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:2])
    windows = source.windows  # type: ignore[union-attr]
    with activations.activate(mesh):
        flows = flow_encoder(str(folder / "teacher"), "float32", cache.layout, mesh)
        found = flows(np.stack([windows.at(index, 1)["video"] for index in range(4)]))
    for index, place in np.ndindex(4, FRAMES - 2):
        expected = cache.flows(index, 1, place + 1)
        np.testing.assert_allclose(found[index, place], expected, atol=ATOL)
    assert cache.info["config"]["teacher"]["dtype"] == "float32"
    assert cache.info["flows"] == [FRAMES - 2, 2, 8, 8, 2]


# Errors


def test_a_run_with_another_teacher_is_refused(folder: Path, tmp_path: Path):
    config = run_of(folder, folder / "cache", write_teacher(tmp_path / "other", seed=6))
    line = "fields:\n  teacher/sha256: '[0-9a-f]{64}' there, '[0-9a-f]{64}' now$"
    with pytest.raises(ValueError, match=line):
        open_cache(config, folder / "model")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_cache(run_of(folder, folder / "cache", "nowhere"), folder / "model")


def test_a_cache_of_an_earlier_version_has_no_flows(folder: Path, tmp_path: Path):
    out = shutil.copytree(folder / "cache", tmp_path / "cache")
    info = json.loads((out / "info.json").read_text())
    del info["flows"], info["config"]["teacher"]
    (out / "info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"fields:\n  teacher: no flows there, .*--teacher\)$"):
        open_cache(run_of(folder, out), folder / "model")
    without = run_of(folder, out, "")
    cache = open_cache(without, folder / "model")
    assert cache is not None and len(cached_source(without, cache)) == 11


def test_a_cache_begun_with_another_teacher_is_refused(folder: Path, tmp_path: Path):
    clips, model, out = str(folder / "clips"), folder / "model", folder / "cache"
    other = write_teacher(tmp_path / "other", seed=6)
    with pytest.raises(ValueError, match="fields:\n  teacher/sha256: '.*' there, '.*' now$"):
        make_cache(clips, model, out, dataclasses.replace(OPTIONS, teacher=other))
    changed = dataclasses.replace(
        OPTIONS, teacher=str(folder / "teacher"), teacher_dtype="bfloat16"
    )
    with pytest.raises(
        ValueError, match="fields:\n  teacher/dtype: 'float32' there, 'bfloat16' now$"
    ):
        make_cache(clips, model, out, changed)


@pytest.mark.parametrize(
    ("options", "dataset", "message"),
    [
        ({"epochs": 1}, "shapes", "the procedural shapes have true flows"),
        ({"num_frames": 4}, "", "num_frames is 4, expected an odd number of at least 3"),
        ({"num_frames": 1}, "", "num_frames is 1, expected an odd number of at least 3"),
        ({"resolutions": (8,)}, "", "trains on latents at 16 pixels, .* to be taken at 8: see"),
    ],
)
def test_flows_that_cannot_be_cached(
    folder: Path, tmp_path: Path, options: dict[str, Any], dataset: str, message: str
):
    fields = {"teacher": str(folder / "teacher"), **options}
    if options.get("num_frames") == 1:
        fields["resolutions"] = ()
    wanted: CacheOptions = dataclasses.replace(OPTIONS, **fields)
    with pytest.raises(ValueError, match=message):
        make_cache(dataset or str(folder / "clips"), folder / "model", tmp_path / "out", wanted)
    assert not (tmp_path / "out").exists()


def test_a_teacher_on_latents_is_refused(folder: Path, tmp_path: Path):
    teacher = write_teacher(tmp_path / "latents", config=micro_model.MICRO.flow)
    options = dataclasses.replace(OPTIONS, teacher=teacher)
    with pytest.raises(ValueError, match="latents: the teacher takes frames of 4 channels"):
        make_cache(str(folder / "clips"), folder / "model", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
