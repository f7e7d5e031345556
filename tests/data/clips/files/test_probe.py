"""Times of frames from packets: display order, edit lists, files without usable times."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.support.numbered_clips import numbered_frame, write_frames, write_numbered, write_sound
from tests.support.video_files import COUNT, CUT, WHOLE
from videogen_jax.data.clips.files.decoding import Unreadable
from videogen_jax.data.clips.files.probe import KeyFrame, Probe, probe

TIMES = np.arange(COUNT) / 25
TIME_ERROR = 1e-6  # seconds


@pytest.mark.parametrize("name", ["gops.ts", "h264.mpg", "gops.avi", "b_frames.h264", "hevc.mp4"])
def test_times_rise_from_zero_at_a_constant_rate(tmp_path, name):
    WHOLE[name].write(tmp_path / name)
    facts = probe(tmp_path / name)
    np.testing.assert_allclose(facts.times, TIMES, atol=TIME_ERROR)
    assert facts.has_keys and facts.declared in (0, COUNT)
    in_output_order = name in ("h264.mpg", "gops.avi", "b_frames.h264")
    assert (facts.in_output_order is not None) == in_output_order
    assert bool(facts.keys) != in_output_order


@pytest.mark.parametrize("name", CUT)
def test_declared_frames_are_those_that_are_shown(tmp_path, name):
    """Else hidden frames count as lost. Hidden key frames are kept, as decoding begins there."""
    CUT[name].write(tmp_path / name)
    facts = probe(tmp_path / name)
    number = COUNT if name == "gap.avi" else len(CUT[name].shown)
    assert len(facts.times) == number and facts.declared in (0, number)
    assert name != "start_one_gop.mp4" or facts.keys[0].time < facts.start


def test_a_damaged_file_has_fewer_frames_than_it_declares(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", COUNT, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    facts = probe(path)
    assert len(facts.times) < facts.declared == COUNT


def test_variable_rates_of_files_without_display_times():
    """The decoder's times of an AVI file count its empty packets."""
    file = io.BytesIO()
    times = [*range(0, 400, 40), *range(600, 1000, 40)]
    frames = [numbered_frame(number) for number in range(20)]
    write_frames(file, frames, times_ms=times, format="avi", g="6", bf="0")
    facts = probe(file.getvalue())
    np.testing.assert_allclose(facts.times, np.array(times) / 1000, atol=TIME_ERROR)


def test_a_file_without_video(tmp_path):
    with pytest.raises(Unreadable, match="no_video_stream: the file has only: audio"):
        probe(write_sound(tmp_path / "a.mp4"))
    with pytest.raises(Unreadable, match="undecodable"):
        probe(b"no video")


def test_positions_go_back_to_the_beginning():
    keys = tuple(KeyFrame(index / 2, 100 * index, 0, 0) for index in range(9))
    facts = Probe(TIMES, Fraction(25), 0, 0.0, True, keys, None)
    assert facts.positions(4.1) == [800, 700, 500, 100, None]
    assert facts.positions(1.0) == [200, 100, None]
    assert facts.positions(0.9) == [100, None]
    for start in (0.3, 0.0, -np.inf):  # the first key frame needs no seek
        assert facts.positions(start) == [None]
    assert replace(facts, keys=()).positions(4.1) == [None]
