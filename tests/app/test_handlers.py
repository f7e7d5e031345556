"""What the page's buttons do, with the smallest model and without a browser."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import micro_model
from videogen_jax import Video, VideoOptions
from videogen_jax.app import results
from videogen_jax.app.handlers import GALLERY, Handlers
from videogen_jax.app.results import Results
from videogen_jax.app.sampling import Cancelled, sample
from videogen_jax.app.settings import Settings

QUICK = VideoOptions(stages=1, temporal_sr=0, decoder="image", steps=2)


@pytest.fixture
def handlers(tmp_path) -> Handlers:
    return Handlers(micro_model.model(), "micro", Results(tmp_path / "results"))


def test_generating_shows_each_part_and_ends_with_files(handlers):
    last = [("older", "caption")] * GALLERY
    updates = list(handlers.generate("me", Settings("<b>a ring</b>", QUICK), None, last))
    parts = [update["status"].partition(":")[0] for update in updates[1:]]
    assert list(dict.fromkeys(parts)) == ["reference image", "stage 1", "decoding", "done"]
    previews = [update["previews"] for update in updates if update.get("previews")]
    assert [[name for _, name in shown] for shown in previews] == [
        ["reference image"],
        ["reference image", "stage 1"],
    ]
    final = updates[-1]
    assert [Path(path).suffix for path in final["files"]] == [".mp4", ".gif", ".webp"]
    assert all(Path(path).stat().st_size for path in final["files"])
    assert final["video"] == final["files"][0]
    assert len(final["gallery"]) == GALLERY
    assert final["gallery"][0][1] == "&lt;b&gt;a ring&lt;/b&gt;"  # a caption is no HTML
    assert "--model micro" in final["command"]


def test_the_preview_of_a_stage_is_its_video(handlers):
    clips: dict[str, Video] = {}
    for update in sample(micro_model.model(), Settings("a ring", QUICK), None, threading.Event()):
        if update.preview:
            clips[update.preview[0]] = update.preview[1]
        video = update.video
    np.testing.assert_array_equal(clips["stage 1"].frames, video.frames)
    np.testing.assert_array_equal(clips["reference image"].frames[0], video.reference)


def test_cancel_ends_the_visitors_own_call(handlers):
    assert handlers.cancel("me") == "nothing is running"
    updates = handlers.generate("me", Settings("a ring", QUICK), None, [])
    next(updates)
    next(updates)
    assert handlers.cancel("somebody else") == "nothing is running"
    assert handlers.cancel("me") == "cancelling …"
    assert list(updates)[-1]["status"] == "cancelled"
    assert handlers.cancel("me") == "nothing is running"


def test_a_visitor_who_leaves_ends_the_call():
    before = threading.active_count()
    updates = sample(micro_model.model(), Settings("a ring", QUICK), None, threading.Event())
    next(updates)
    updates.close()
    assert threading.active_count() == before


def test_a_cancelled_call_raises():
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        list(sample(micro_model.model(), Settings("a ring", QUICK), None, cancelled))


def test_errors_are_text_without_paths(handlers, tmp_path):
    upload = tmp_path / "secret" / "picture.png"
    upload.parent.mkdir()
    upload.write_bytes(b"not an image")
    (_, failed) = handlers.generate("me", Settings("a ring", QUICK), str(upload), [])
    assert failed["status"].startswith("error: the uploaded file is not an image")
    assert "secret" not in failed["status"]
    settings = Settings("a ring", QUICK).with_options(seed=-1)
    (_, failed) = handlers.generate("me", settings, None, [])
    assert failed["status"] == "error: seed is -1, expected an integer from 0 to 4294967295"


def test_a_large_picture_is_refused(handlers, tmp_path, monkeypatch):
    monkeypatch.setattr("videogen_jax.app.handlers.MAX_PIXELS", 15)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "picture.png")
    upload = str(tmp_path / "picture.png")
    (_, failed) = handlers.generate("me", Settings("a ring", QUICK), upload, [])
    assert "16 pixels" in failed["status"] or "4x4 pixels" in failed["status"]


def test_interpolating_refuses_what_is_no_video(handlers, tmp_path):
    upload = tmp_path / "secret" / "clip.mp4"
    upload.parent.mkdir()
    upload.write_bytes(b"no video")
    for path, expected in ((None, "no video was uploaded"), (str(upload), "clip.mp4")):
        new = handlers.interpolate(path, 1, 0)
        assert new["video"] is None and expected in new["status"]
        assert "secret" not in new["status"]


def test_comparing_stops_at_an_error(handlers):
    good = Settings("a ring", QUICK)
    *_, last = handlers.compare("me", (good.with_options(steps=0), good))
    assert last["status"].startswith("A: error: steps is 0")


def test_the_oldest_results_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "KEPT", 2)
    kept = Results(tmp_path)
    folders = [kept.new() for _ in range(3)]
    assert [folder.exists() for folder in folders] == [False, True, True]
