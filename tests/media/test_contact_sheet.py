import numpy as np
import pytest

from videogen_jax.media.contact_sheet import contact_sheet, stack_sheets

GAP = 4


def clip(num_frames: int, size: int = 8) -> np.ndarray:
    """Returns a clip whose frame i has grey level i."""
    levels = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (num_frames, size, size, 3)).copy()


def test_frames_stand_in_a_row_unchanged():
    sheet = np.asarray(contact_sheet(clip(3), scale=2))
    assert sheet.shape == (16 + 2 * GAP, 3 * (16 + GAP) + GAP, 3)
    for index in range(3):
        left = GAP + index * (16 + GAP)
        np.testing.assert_array_equal(sheet[GAP : GAP + 16, left : left + 16], index)
        np.testing.assert_array_equal(sheet[:, left - GAP : left], 255)


def test_reference_comes_first_whatever_its_size():
    reference = np.full((16, 32, 3), 100, np.uint8)
    with_reference = np.asarray(contact_sheet(clip(2), reference, scale=1))
    cell = with_reference[GAP : GAP + 8, GAP : GAP + 8]
    np.testing.assert_array_equal(cell[2:6], 100)  # keeps its aspect ratio
    np.testing.assert_array_equal(cell[[0, -1]], 255)
    left = GAP + 8 + 3 * GAP
    np.testing.assert_array_equal(with_reference[GAP : GAP + 8, left : left + 8], 0)


def test_rows():
    assert contact_sheet(clip(16), scale=1).size == (16 * 12 + GAP, 12 + GAP)
    assert contact_sheet(clip(17), scale=1).size == (16 * 12 + GAP, 2 * 12 + GAP)
    sheet = np.asarray(contact_sheet(clip(5), columns=2, scale=1))
    assert sheet.shape == (3 * 12 + GAP, 2 * 12 + GAP, 3)
    np.testing.assert_array_equal(sheet[2 * 12 + GAP : 3 * 12, GAP : GAP + 8], 4)
    np.testing.assert_array_equal(sheet[2 * 12 + GAP :, 12 + GAP :], 255)


def test_small_clips_are_enlarged_to_be_readable():
    assert contact_sheet(clip(1, size=40)).height == 3 * 40 + 2 * GAP
    assert contact_sheet(clip(1, size=200)).height == 200 + 2 * GAP


def test_caption_is_wrapped_above_the_frames():
    plain = contact_sheet(clip(4))
    one_line = contact_sheet(clip(4), caption="red")
    long = contact_sheet(clip(4), caption="a large red circle moving left " * 4)
    assert plain.width == one_line.width == long.width
    assert plain.height < one_line.height < long.height - 20
    top = np.asarray(one_line)[: one_line.height - plain.height]
    assert (top < 100).any()
    np.testing.assert_array_equal(
        np.asarray(one_line)[-plain.height + GAP :], np.asarray(plain)[GAP:]
    )
    right_edge = np.asarray(long)[: long.height - plain.height, -GAP:]
    np.testing.assert_array_equal(right_edge, 255)


@pytest.mark.parametrize("options", [{"columns": 0}, {"scale": 0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="columns is .* and scale is .*, expected at least 1"):
        contact_sheet(clip(2), **options)


def test_sheets_are_stacked_in_order_flush_left():
    narrow, wide = contact_sheet(clip(1), scale=1), contact_sheet(clip(3), scale=1)
    stacked = np.asarray(stack_sheets([narrow, wide]))
    assert stacked.shape == (narrow.height + wide.height, wide.width, 3)
    np.testing.assert_array_equal(stacked[: narrow.height, : narrow.width], narrow)
    np.testing.assert_array_equal(stacked[: narrow.height, narrow.width :], 255)
    np.testing.assert_array_equal(stacked[narrow.height :], wide)
