"""Decoding from a given time on: seeks that are right, refused seeks, and lost packets."""

import av
import pytest

from tests.support.numbered_clips import read_number, read_numbers
from tests.support.video_files import COUNT, CUT, MPEG2, WHOLE, encoded
from videogen_jax.data.clips.files.decoding import Losses, decoded_from, open_video
from videogen_jax.data.clips.files.probe import probe
from videogen_jax.data.clips.video import frames

GOP = 6


@pytest.fixture
def write(tmp_path):
    def write(name, file=None):
        (file or (WHOLE | CUT)[name]).write(tmp_path / name)
        return tmp_path / name

    return write


def first_number(path, facts, start, position):
    """Returns the number of the first decoded frame, or None if the seek is refused."""
    with open_video(path) as video:
        timed = decoded_from(video, facts, Losses(), start, position)
        if timed is None:
            return None
        time, frame = next(timed)
        assert position is None or time < start + 1e-4
        return read_number(frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize("name", ["gops.ts", "hevc.ts", "b_frames.flv", "b_frames.mkv"])
def test_a_late_part_is_not_decoded_from_the_beginning(write, name):
    path = write(name)
    facts = probe(path)
    start = facts.start + 28 / 25
    found = [first_number(path, facts, start, position) for position in facts.positions(start)]
    assert found[-1] == 0 and max(number for number in found if number is not None) >= 12


def test_a_seek_past_its_target_is_refused(write):
    """A transport stream has no index: a seek lands in the middle of a group of pictures."""
    for name in ("one_gop.ts", "gops.ts"):
        path = write(name)
        facts = probe(path)
        for frame in range(5, COUNT):
            start, position = facts.start + 0.12, round((facts.start + frame / 25) * 90000)
            assert first_number(path, facts, start, position) is None
        assert first_number(path, facts, start, None) == 0


def test_a_seek_that_changes_the_times_is_refused(write):
    """After a seek in this file, each frame has the time of the one before it."""
    path = write("long.mpg", encoded(60, **MPEG2, g="12", bf="2"))
    facts = probe(path)
    start = facts.start + 50 / 25
    positions = facts.positions(start)
    assert first_number(path, None, start, positions[0]) is not None
    assert first_number(path, facts, start, positions[0]) is None


def test_decoding_begins_with_a_key_frame(write):
    """The frames before it would be grey or damaged."""
    path, losses = write("recorded_mpeg4.ts"), Losses()
    shown = [frame for _, frame in frames(path, probe(path), losses)]
    assert read_numbers(shown) == CUT["recorded_mpeg4.ts"].shown and losses == Losses()


def test_damage_before_a_part_does_not_count(write):
    path = write("a.avi", encoded(g=str(GOP), bf="3", sc_threshold="0"))
    with av.open(path) as file:
        damaged = [bytes(packet) for packet in file.demux(video=0)][GOP + 1]
    path.write_bytes(path.read_bytes().replace(damaged, bytes(len(damaged))))
    facts, losses = probe(path), Losses()
    start = facts.start + 2 * GOP / 25
    shown = [frame for _, frame in frames(path, facts, losses, start)]
    assert read_numbers(shown) == list(range(2 * GOP, COUNT)) and losses == Losses()
    list(frames(path, facts, losses))
    assert losses.frames >= 1 and losses.first_error
