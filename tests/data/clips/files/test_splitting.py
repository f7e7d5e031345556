"""Splitting of files with known cuts into shots, and into clips of a fixed length."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.moving_clips import write_shots
from tests.support.numbered_clips import write_frames, write_numbered
from videogen_jax.data.clips.files.clip_config import ClipConfig, Rejected
from videogen_jax.data.clips.files.splitting import SplitConfig, check_length, split
from videogen_jax.errors import UserError

CLIP = ClipConfig(short_side=48, min_side=32)
SHOTS = SplitConfig(split_shots=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """A film of 25 fps with cuts before the frames 30, 55 and 90; it ends after frame 119."""
    return write_shots(tmp_path_factory.mktemp("film") / "film.mp4", (30, 25, 35, 30))


def frames_of(parts: list[tuple[float, float]], fps: float = 25) -> list[tuple[int, int]]:
    """Returns the parts in frames; fails if one does not begin and end at a frame."""
    places = np.array(parts) * fps
    np.testing.assert_allclose(places, np.rint(places), atol=1e-3)
    return [(round(start), round(end)) for start, end in places]


def test_known_cuts_are_found(film):
    assert frames_of(split(film, SHOTS, CLIP)) == [(0, 30), (30, 55), (55, 90), (90, 120)]
    assert split(film.read_bytes(), SHOTS, CLIP) == split(film, SHOTS, CLIP)


def test_only_the_part_of_a_row_is_split(film):
    assert frames_of(split(film, SHOTS, CLIP, 20 / 25, 70 / 25)) == [(20, 30), (30, 55), (55, 70)]


def test_a_higher_threshold_finds_fewer_cuts(film):
    config = SplitConfig(split_shots=True, shot_threshold=1e9)
    assert frames_of(split(film, config, CLIP)) == [(0, 120)]


def test_cuts_of_a_variable_rate_are_at_the_times_of_frames(tmp_path):
    """The first shot at 10 fps, the second at 25."""
    times = [*range(0, 2000, 100), *range(2000, 3000, 40)]
    path = write_shots(tmp_path / "a.mkv", (20, 25), times_ms=times)
    np.testing.assert_allclose(split(path, SHOTS, CLIP), [(0, 2), (2, 3)], atol=0.05)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(2.0, [(0, 50), (50, 100), (100, 120)]), (2.4, [(0, 60), (60, 120)]), (9.0, [(0, 120)])],
)
def test_pieces_of_a_length(tmp_path, seconds, expected):
    path = write_numbered(tmp_path / "a.mp4", count=120)
    config = SplitConfig(clip_seconds=seconds, min_part_seconds=0.5)
    assert frames_of(split(path, config, CLIP)) == expected


def test_long_shots_are_cut_too(film):
    config = SplitConfig(split_shots=True, clip_seconds=1.2, min_part_seconds=0.2)
    parts = [(0, 30), (30, 55), (55, 85), (85, 90), (90, 120)]
    assert frames_of(split(film, config, CLIP)) == parts


def test_short_parts_are_rejected():
    check_length((2.0, 3.0), SHOTS)
    with pytest.raises(Rejected, match="too_short: 0.90 s, below min_part_seconds 1"):
        check_length((2.0, 2.9), SHOTS)


def test_files_that_cannot_be_read_are_rejected_as_in_transcoding(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"PK")
    with pytest.raises(Rejected, match="undecodable"):
        split(tmp_path / "a.mp4", SHOTS, CLIP)
    with pytest.raises(Rejected, match="missing_file"):
        split(tmp_path / "b.mp4", SHOTS, CLIP)
    path = write_frames_of(tmp_path / "c.mp4")
    with pytest.raises(Rejected, match="too_large"):
        split(path, SHOTS, ClipConfig(max_pixels=100))
    with pytest.raises(Rejected, match="outside"):
        split(path, SHOTS, CLIP, start=60.0)


def write_frames_of(path: Path) -> Path:
    write_frames(path, [np.zeros((48, 64, 3), np.uint8)] * 16)
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip_seconds": -1.0}, "clip_seconds must be >= 0 and finite, got -1"),
        ({"shot_threshold": float("nan")}, "shot_threshold must be >= 0 and finite, got nan"),
        ({"clip_seconds": 0.5}, "clip_seconds is 0.5, expected at least min_part_seconds 1"),
    ],
)
def test_bad_configurations_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        SplitConfig(**fields)


def test_without_the_package_it_says_so(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(ModuleNotFoundError):
        split(film, SHOTS, CLIP)
