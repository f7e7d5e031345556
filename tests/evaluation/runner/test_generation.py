"""Generation: each video once, with its index as seed, by any number of processes, resumable."""

import dataclasses
import json
import shutil
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from tests.support.evaluating import StandIn, evaluation, frames_of, plan_of
from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner import generation
from videogen_jax.evaluation.runner.generation import generate
from videogen_jax.evaluation.runner.prompts import read_prompts
from videogen_jax.media.video import Video
from videogen_jax.media.video_folder import VideoFolder
from videogen_jax.pipeline import prompt_files

TEXTS = read_prompts("ucf101").texts


@pytest.fixture
def plan(tmp_path):
    """Eleven videos in groups of four."""
    return plan_of(evaluation(tmp_path, tmp_path / "real", num_videos=11, batch_size=4))


def frames_in(folder: Path) -> np.ndarray:
    files = sorted(folder.glob("*.png"))
    return np.stack([np.asarray(Image.open(file)) for file in files])


def test_every_video_has_its_index_as_seed(plan):
    model = StandIn()
    generate(plan, lambda: model)
    assert [seeds for _, seeds in model.calls] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 10)]
    for index in range(11):
        expected = frames_of(TEXTS[index], index)
        np.testing.assert_array_equal(frames_in(plan.folder / f"{index:06d}"), expected)
    lines = [json.loads(x) for x in (plan.folder / "manifest.jsonl").read_text().splitlines()]
    assert lines[10] == {
        "index": 10,
        "id": "000010",
        "prompt": TEXTS[10],
        "seed": 10,
        "negative_prompt": "",
        "file": "000010",
        "fps": 8.0,
        "frames": 3,
    }


def test_the_seed_option_is_that_of_the_first_video(tmp_path):
    plan = plan_of(evaluation(tmp_path, tmp_path, num_videos=2, batch_size=2), seed=1000)
    model = StandIn()
    generate(plan, lambda: model)
    assert model.calls[0][1] == (1000, 1001)
    with pytest.raises(UserError, match="seed is 4294967295, so the last video has 4294967296"):
        plan_of(evaluation(tmp_path, tmp_path, num_videos=2), seed=2**32 - 1)


def test_a_process_waits_for_the_videos_of_the_others(plan, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(prompt_files.multihost_utils, "broadcast_one_to_all", lambda x: x)
    monkeypatch.setattr(generation, "_POLL_SECONDS", 0.1)
    model = StandIn()
    thread = threading.Thread(target=generate, args=(plan, lambda: model))
    thread.start()
    folder = VideoFolder(plan.folder, plan.settings())
    while len(folder.entries()) < 4:
        time.sleep(0.01)
    thread.join(3 * generation._POLL_SECONDS)
    assert thread.is_alive() and [seeds for _, seeds in model.calls] == [(4, 5, 6, 7)]
    for line in plan.lines():
        if line.index not in folder.entries():
            folder.add(line.entry(""), Video(frames_of(line.prompt, line.seed), 8.0))
    thread.join()


def test_a_call_generates_only_what_is_missing(plan):
    generate(plan, StandIn)
    shutil.rmtree(plan.folder / "000005")
    (plan.folder / ".000006.0a1b").mkdir()  # a killed process wrote half of it
    kept = (plan.folder / "000004" / "frame_0000.png").stat().st_mtime_ns
    model = StandIn()
    generate(plan, lambda: model)
    # The whole group, so that no video depends on where an earlier call stopped.
    assert [seeds for _, seeds in model.calls] == [(4, 5, 6, 7)]
    assert (plan.folder / "000004" / "frame_0000.png").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(frames_in(plan.folder / "000005"), frames_of(TEXTS[5], 5))
    generate(plan, lambda: pytest.fail("nothing is missing"))


def test_mp4_files(tmp_path):
    one = evaluation(tmp_path, tmp_path, num_videos=2, batch_size=2, format="mp4")
    generate(plan_of(one), StandIn)
    names = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert names == ["000000.mp4", "000001.mp4", "manifest.jsonl", "request.json"]


def test_other_settings_and_foreign_folders_are_refused(plan, tmp_path):
    VideoFolder(plan.folder, plan.settings())
    request = plan.request
    options = dataclasses.replace(request.options, use_reference=False)
    for change, field in (
        ({"request": dataclasses.replace(request, options=options)}, "sampling/use_reference"),
        ({"request": dataclasses.replace(request, steps=(9,) * 4)}, "sampling/steps"),
        ({"prompts": (*plan.prompts[1:], "a ring")}, "prompts_sha256"),
        ({"weights": {"stage_1": "other"}}, "weights/stage_1"),
    ):
        with pytest.raises(UserError, match=f"videos were begun with other settings.*\n.*{field}"):
            generate(dataclasses.replace(plan, **change), pytest.fail)
    foreign = dataclasses.replace(plan, folder=tmp_path / "foreign")
    foreign.folder.mkdir()
    (foreign.folder / "holiday.mp4").touch()
    with pytest.raises(UserError, match="has no request.json, but other files, such as holiday.m"):
        generate(foreign, pytest.fail)
