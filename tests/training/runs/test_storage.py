"""Runs, models, data sets and latent caches in buckets."""

import dataclasses
import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support import cached_training, micro_model
from tests.support.line_task import LOOP, train_line
from tests.support.mean_task import run_config
from tests.support.micro_model import MICRO, TOKENIZER
from tests.support.storage import memory_url, s3_server
from videogen_jax import VideoGen
from videogen_jax.cli import command
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.paths import as_path, copy_folder
from videogen_jax.pipeline.model_files import load_model, save_model
from videogen_jax.training.checkpoints import storage as checkpoint_storage
from videogen_jax.training.checkpoints.files import find_checkpoint
from videogen_jax.training.latents import making
from videogen_jax.training.latents.making import make_cache
from videogen_jax.training.latents.opening import open_cache
from videogen_jax.training.runs.export import export_run
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.weights.model_dir import list_components, load_component

DEVICES = jax.devices()[:1]
equal = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module", params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def bucket(request, tmp_path_factory):
    """A new folder in a bucket. Of S3, a server starts, and every access is a request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        if request.param == "memory":
            yield as_path(memory_url())
            return
        with s3_server() as url:
            yield as_path(url) / "folder"


@pytest.fixture(scope="module")
def model(bucket):
    return cached_training.write_model(bucket / "model")


def test_a_model_is_saved_and_loaded(bucket):
    params = {name: micro_model.params()[name] for name in ("flow", "autoencoder")}
    save_model(bucket / "saved", MICRO, TOKENIZER, params)
    loaded = VideoGen.load(str(bucket / "saved"))
    assert loaded.config == MICRO and loaded.tokenizer.vocab_size == TOKENIZER.vocab_size
    equal(loaded.params, params)
    with pytest.raises(UserError, match="saved exists already"):
        save_model(str(bucket / "saved"), MICRO, TOKENIZER, params)
    (bucket / "saved" / "manifest.json").unlink()  # as of an upload that did not end
    with pytest.raises(UserError, match="flow.safetensors has no checksum in manifest.json"):
        load_component(bucket / "saved", "flow")
    with pytest.raises(MissingFile, match="no model .*nothing"):
        load_model(str(bucket / "nothing"))


def test_a_run_resumes_as_if_uninterrupted(bucket, tmp_path: Path):
    loop = dataclasses.replace(LOOP, keep_checkpoints=2, checkpoint_every=1)
    whole, run = train_line(tmp_path / "run", 4, devices=DEVICES), bucket / "line"
    train_line(run, 2, loop, devices=DEVICES)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["1", "2"]
    resumed = train_line(run, 4, loop, devices=DEVICES)
    equal(resumed.params, whole.params)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["3", "4"]
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert (find_checkpoint(run, 3) / "manifest.json").is_file()


@pytest.mark.slow  # compiles the networks; the test above has the checkpoints
def test_a_run_is_resumed_and_exported(bucket, model, tmp_path: Path):
    whole = train_run(run_config(), tmp_path / "run", model, DEVICES)
    config, run = run_config(), bucket / "run"
    train_run(dataclasses.replace(config, steps=2), run, model, DEVICES)
    resumed = train_run(config, run, model, DEVICES)
    equal(resumed.params, whole.params)
    names = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.jsonl", "samples", "tensorboard"} <= names
    assert "lock" not in names
    assert [path.name for path in (run / "samples").iterdir()] == [
        "step_00000002.png",
        "step_00000004.png",
    ]
    assert export_run(run, bucket / "exported") == ["mean"]
    assert list_components(bucket / "exported") == sorted([*cached_training.NAMES, "mean"])
    equal(load_component(bucket / "exported", "mean"), jax.device_get(resumed.params))
    assert load_model(str(bucket / "exported")).config == MICRO
    assert export_run(run, tmp_path / "here", step=2) == ["mean"]


def test_a_damaged_checkpoint_is_set_aside(bucket, capfd):
    run, loop = bucket / "damaged", dataclasses.replace(LOOP, checkpoint_every=2)
    train_line(run, 4, loop, devices=DEVICES)
    (part,) = (path for path in (run / "checkpoints" / "4").rglob("metadata") if path.is_file())
    part.write_bytes(b"junk")
    (run / "checkpoints" / "9").mkdir(exist_ok=True)
    (run / "checkpoints" / "9" / "half").write_text("of an upload that did not end")
    state = train_line(run, 4, loop, devices=DEVICES)
    assert int(state.step) == 4
    error = capfd.readouterr().err
    assert "checkpoint of step 4 is not used, the one of step 2 is" in error
    assert "it is now 4.damaged" in error
    assert (run / "checkpoints" / "4.damaged").is_dir()
    assert (run / "checkpoints" / "4" / "manifest.json").is_file()


def test_several_processes_need_a_shared_file_system(bucket, model, monkeypatch):
    monkeypatch.setattr(checkpoint_storage.jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="several processes must be in a file system"):
        checkpoint_storage.CheckpointBucket(bucket / "several" / "checkpoints", 3, 0, "loss")


@pytest.fixture(scope="module")
def clips(bucket, tmp_path_factory) -> Path:
    local = tmp_path_factory.mktemp("clips")
    cached_training.write_clips(local)
    copy_folder(local, bucket / "clips")
    return local


def test_a_dataset_is_read(bucket, clips: Path):
    remote, local = ClipDataset(str(bucket / "clips")), ClipDataset(clips)
    assert list(remote) == list(local) and remote.sha256() == local.sha256()
    np.testing.assert_array_equal(remote.clip_sizes(), local.clip_sizes())
    assert pickle.loads(pickle.dumps(remote))[3] == local[3]
    assert str(bucket) in remote.locate(3)


def test_a_latent_cache_is_made_resumed_and_read(bucket, model, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "frozen_encoders", cached_training.quick_encoders)
    source, out = str(bucket / "clips"), bucket / "cache"
    make_cache(str(clips), model, tmp_path / "cache", cached_training.OPTIONS)
    make_cache(source, model, out, cached_training.OPTIONS)
    (out / "info.json").unlink()
    (out / "shard-00001-of-00004" / "checksums.npz").unlink()  # an upload that did not end
    make_cache(source, model, out, cached_training.OPTIONS)
    config = cached_training.run_of(CascadeTaskConfig(1), bucket, out)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, dataset=source))
    there, here = open_cache(config, model), LatentCache(tmp_path / "cache", [8])
    assert there is not None and len(there) == len(here) == 11
    for index in range(len(here)):
        for name, values in here.at(index, 1).items():
            np.testing.assert_array_equal(there.at(index, 1)[name], values)
    path = out / "shard-00000-of-00004" / "latents_8.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"junk")
    with pytest.raises(UserError, match="latents_8.npy is damaged: row"):
        [there.at(index, epoch) for index in range(3) for epoch in range(3)]


def test_commands_without_buckets_say_so(capsys):
    def main(model_dir: Path, out: Path = Path("out")) -> None:
        print("called with", model_dir)

    words = ["--model-dir", "memory://a/model"]
    command(main, "test", words, buckets=["model_dir"])
    assert capsys.readouterr().out == "called with memory://a/model\n"
    with pytest.raises(SystemExit) as raised:
        command(main, "test", [*words, "--out", "memory://a/b"], buckets=["model_dir"])
    assert raised.value.code == 1
    assert "error: out is memory://a/b, expected a path of this machine" in capsys.readouterr().err


@pytest.mark.slow  # compiles the whole chain
def test_a_video_is_sampled_from_a_model_in_a_bucket(bucket, tmp_path: Path):
    save_model(bucket / "whole", MICRO, TOKENIZER, micro_model.params())
    loaded = VideoGen.load(str(bucket / "whole"))
    video = loaded("a red circle", seed=0)
    np.testing.assert_array_equal(video.frames, micro_model.model()("a red circle", seed=0).frames)
