"""Windows of a clip that comes in pieces."""

from collections.abc import Iterator

import numpy as np
import pytest

from videogen_jax.pipeline.frame_windows import frame_windows

CLIP = np.arange(2 * 12).reshape(2, 12)


def pieces(*lengths: int) -> Iterator[np.ndarray]:
    yield from np.split(CLIP, np.cumsum(lengths), axis=1)


@pytest.mark.parametrize("lengths", [(), (1,) * 11, (3, 3, 3), (5, 1), (11,), (2, 0, 4)])
@pytest.mark.parametrize("starts", [[0, 3, 6, 8], [0, 1, 2], [2, 8], [8], [0, 4, 8], [3, 3]])
def test_windows_are_those_of_the_whole_clip(lengths, starts):
    windows = list(frame_windows(pieces(*lengths), starts, 4))
    assert len(windows) == len(starts)
    for window, start in zip(windows, starts, strict=True):
        np.testing.assert_array_equal(window, CLIP[:, start : start + 4])


def test_only_the_pieces_of_a_window_are_taken_before_it():
    taken: list[int] = []

    def counted() -> Iterator[np.ndarray]:
        for index, piece in enumerate(pieces(*(1,) * 11)):
            taken.append(index)
            yield piece

    windows = frame_windows(counted(), [0, 3, 8], 4)
    assert (next(windows).shape[1], len(taken)) == (4, 4)
    assert (next(windows).shape[1], len(taken)) == (4, 7)


def test_a_generator_of_pieces_runs_to_its_end():
    ended = []

    def ending() -> Iterator[np.ndarray]:
        yield CLIP
        ended.append(True)

    assert len(list(frame_windows(ending(), [0], 12))) == 1
    assert ended


def test_a_clip_that_is_too_short_is_an_error():
    with pytest.raises(ValueError, match="ends before frame 12"):
        list(frame_windows(pieces(6), [0, 9], 4))
