"""Sets of videos: folders, datasets and shapes."""

import numpy as np
import pytest

from tests.support.numbered_clips import numbered_record, read_numbers, write_dataset
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.runner.reading import Window
from videogen_jax.evaluation.runner.sources import (
    DatasetVideos,
    FolderVideos,
    ShapesVideos,
    captions_of,
    open_real,
)
from videogen_jax.media.manifest import MANIFEST
from videogen_jax.media.video import Video
from videogen_jax.media.video_folder import REQUEST

WINDOW = Window(3)


def grey(level: int, frames: int = 4) -> Video:
    return Video(np.full((frames, 8, 8, 3), level, np.uint8), 8.0)


@pytest.fixture
def folder(tmp_path):
    """Five videos as PNG frames, which are grey with their number as level."""
    for number in range(5):
        grey(number).save(tmp_path / f"clip_{number}")
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".clip_9.0a1b").mkdir()  # as a killed process leaves it
    return tmp_path


def levels(videos) -> list[int]:
    return [int(videos.video(index).flat[0]) for index in range(len(videos))]


def test_a_folder_without_a_manifest(folder):
    assert levels(FolderVideos(folder, WINDOW)) == [0, 1, 2, 3, 4]
    assert levels(FolderVideos(folder, WINDOW, 2)) == [0, 1]
    assert set(captions_of(FolderVideos(folder, WINDOW))) == {""}


def test_a_manifest_says_which_videos_with_which_captions(folder):
    (folder / MANIFEST).write_text(
        '{"file": "clip_3", "prompt": "three"}\n{"file": "clip_1", "prompt": "one"}\n'
    )
    videos = FolderVideos(folder, WINDOW)
    assert levels(videos) == [3, 1] and captions_of(videos) == ("three", "one")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no videos"),
        ('{"file": "../a.mp4"}', "../a.mp4 is not in the folder"),
        ('{"file": "b.mp4"}', "there is no .*b.mp4"),
    ],
)
def test_a_manifest_of_other_files_is_refused(folder, text, message):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=f"manifest.jsonl.*{message}"):
        FolderVideos(folder, WINDOW)


def test_real_videos_are_drawn_by_the_seed(folder):
    def drawn(seed: int) -> list[int]:
        return levels(open_real(str(folder), Window(3, seed=seed), 3))

    assert drawn(0) == drawn(0) and len(set(drawn(0))) == 3
    assert len({tuple(drawn(seed)) for seed in range(6)}) > 3


def test_too_few_videos_and_unfinished_folders_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="has 5 videos, expected 6.*--num-videos and --real-videos"):
        FolderVideos(folder, WINDOW, 6)
    (folder / MANIFEST).write_text('{"file": "clip_3"}\n')
    (folder / REQUEST).write_text('{"videos": 2}')
    with pytest.raises(UserError, match="generation is not finished; run the same command again"):
        FolderVideos(folder, WINDOW)
    with pytest.raises(MissingFile, match="no folder of videos .*nowhere"):
        FolderVideos(tmp_path / "nowhere", WINDOW)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has 0 videos, expected some"):
        FolderVideos(tmp_path / "empty", WINDOW)


def test_settings_change_with_names_sizes_and_captions(folder):
    def settings() -> str:
        return FolderVideos(folder, WINDOW).settings()["folder_sha256"]

    before = settings()
    assert settings() == before
    grey(200, frames=5).save(folder / "clip_2")
    changed = settings()
    (folder / "clip_2").rename(folder / "clip_7")
    assert len({before, changed, settings()}) == 3


def test_clips_of_a_dataset(tmp_path):
    records = [numbered_record(f"clip {n}", count=20 + n) for n in range(4)]
    dataset = write_dataset(tmp_path / "data", records)
    videos = DatasetVideos(dataset, Window(21, "middle"), 3)
    assert len(videos) == 3 and videos.excluded == 1
    lengths = {"clip 1, one": 21, "clip 2, one": 22, "clip 3, one": 23}
    assert set(captions_of(videos)) == set(lengths)
    for index in range(3):
        start = (lengths[videos.caption(index)] - 21) // 2
        assert read_numbers(videos.video(index)) == list(range(start, start + 21))
    assert videos.settings()["excluded"] == 1
    with pytest.raises(UserError, match="without 1 clips that are too short, has 3 videos, expec"):
        DatasetVideos(dataset, Window(21), 4)
    assert isinstance(open_real(str(dataset), WINDOW, None), DatasetVideos)


def test_shapes():
    videos = open_real("shapes", Window(16, resolution=16), 2)
    assert isinstance(videos, ShapesVideos)
    for index, clip in enumerate(ShapesClips("held_out", 2, resolution=16)):
        np.testing.assert_array_equal(videos.video(index), clip["video"])
        assert videos.caption(index) == clip["caption"]
    with pytest.raises(UserError, match="--real shapes needs --real-videos N"):
        open_real("shapes", WINDOW, None)
