"""Runs on real clips: the source of each task, the validation clips, and errors."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tyro

from tests.support.numbered_clips import numbered_record, write_dataset
from tests.support.run_directories import begin_run
from videogen_jax.configs import RUNS
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Mixture, make_loader
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import first_examples, make_source
from videogen_jax.weights import config_file


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("data")
    many = [numbered_record(f"clip {i}") for i in range(12)]
    few = [numbered_record(f"other {i}", fps=12) for i in range(3)]
    return str(write_dataset(folder / "many", many)), str(write_dataset(folder / "few", few))


def _config(name: str, **data: Any) -> RunConfig:
    config = RUNS[name]
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **data))


PARTS = [
    name for name in RUNS if name.startswith("tiny-") and name not in ("tiny-flow", "tiny-stage-3")
]


@pytest.mark.parametrize("name", PARTS)
def test_every_part_receives_the_same_keys_shapes_and_types_as_from_the_shapes(folders, name):
    """Tasks therefore work with both sources."""
    real = make_loader(make_source(_config(name, dataset=folders[0]), "train"), 8, 0)
    shapes = make_loader(make_source(_config(name), "train", 8), 8, 0)
    a, b = next(real), next(shapes)
    assert {k: (v.shape, v.dtype) for k, v in a.items()} == {
        k: (v.shape, v.dtype) for k, v in b.items()
    }


def test_options_reach_the_windows(folders, capfd):
    config = _config("tiny-stage-1", dataset=folders[0], fps=8.0, held_back=1)
    source = make_source(config, "train")
    assert capfd.readouterr().out == f"{folders[0]}: 11 clips to train on\n"
    assert source[0]["fps"] == 8 and len(source) == 11
    held_back = make_source(config, "validation")
    assert [example["index"] for example in first_examples(held_back, 2)] == [11, 11]
    assert capfd.readouterr().out == ""
    other = make_source(dataclasses.replace(config, seed=5), "train")
    assert any((source[i]["video"] != other[i]["video"]).any() for i in range(11))


def test_left_out_clips_are_reported(tmp_path, capfd):
    records = [numbered_record(f"clip {i}", 40 if i else 3) for i in range(10)]
    folder = write_dataset(tmp_path / "d", records)
    make_source(_config("tiny-stage-1", dataset=str(folder)), "train")
    assert "d: 8 clips to train on, 1 too short, too slow or too small\n" in capfd.readouterr().out


def test_mixture(folders):
    """9 of 12 examples are of the first dataset (24 fps), and the sheet shows both in turn."""
    weighted = ((folders[0], 3.0), (folders[1], 1.0))
    config = _config("tiny-video-decoder", mixture=weighted, fps=None)
    mixture = make_source(config, "train")
    assert isinstance(mixture, Mixture)
    batch = next(make_loader(mixture, 12, 0))
    assert sorted(batch["fps"]) == [12.0] * 3 + [24.0] * 9 and "degraded" in batch
    sheet = first_examples(make_source(config, "validation"), 4)
    assert [example["fps"] for example in sheet] == [24, 12, 24, 12]
    assert [example["index"] for example in sheet] == [11, 2, 11, 2]
    assert (sheet[0]["video"] != sheet[2]["video"]).any()  # another window


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("tiny-flow", {"num_frames": 4}, "num_frames is 4, expected an odd number"),
        ("tiny-stage-1", {"num_frames": 41}, "none of its 11 train clips has 41 frames"),
        ("tiny-stage-1", {"resolution": 64}, "and 64 pixels; the longest, .*has 40 frames"),
        ("tiny-stage-1", {"held_back": 0}, "held_back must be >= 1"),
    ],
)
def test_what_cannot_be_trained_on(folders, name, data, message):
    with pytest.raises(ValueError, match=message):
        make_source(_config(name, dataset=folders[0], **data), "train")


def test_fewer_clips_than_a_batch(folders):
    message = r"few: 2 clips to train on are fewer than a batch of 8 \(batch_size\)"
    with pytest.raises(ValueError, match=message):
        make_source(_config("tiny-stage-1", dataset=folders[1]), "train")
    make_source(_config("tiny-stage-1", dataset=folders[1]), "validation")  # a sheet needs none


def test_no_dataset_and_an_empty_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="no dataset folder .*nowhere"):
        make_source(_config("tiny-stage-1", dataset=str(tmp_path / "nowhere")), "train")
    empty = write_dataset(tmp_path / "empty", [])
    with pytest.raises(ValueError, match="empty: the dataset has no clips"):
        make_source(_config("tiny-stage-1", dataset=str(empty)), "train")


def test_dataset_and_mixture_are_not_both_given():
    with pytest.raises(ValueError, match="dataset and mixture are both given"):
        DataConfig(dataset="a", mixture=(("b", 1.0),))


def test_the_command_line_and_the_file_know_mixtures(tmp_path: Path):
    for words, fps in ((["8"], 8.0), (["4", "16"], (4.0, 16.0)), (["None"], None)):
        data = tyro.cli(DataConfig, args=["--mixture", "a", "3", "b", "0.5", "--fps", *words])
        assert data == DataConfig(mixture=(("a", 3.0), ("b", 0.5)), fps=fps)
        config_file.save_config(tmp_path / "c.json", data)
        assert config_file.load_config(tmp_path / "c.json", DataConfig) == data


def test_a_run_may_continue_with_another_limit_of_damage(tmp_path: Path):
    begin_run(tmp_path, _config("tiny-stage-1", max_damaged=0.01))
    begin_run(tmp_path, _config("tiny-stage-1", max_damaged=0.5))
    with pytest.raises(ValueError, match="data/fps"):
        begin_run(tmp_path, _config("tiny-stage-1", fps=8.0))
