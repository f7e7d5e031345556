"""Contact sheets: a clip as one still picture.

Shape suffixes: F frames, H height, W width, C = 3 colour channels (RGB), uint8.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from videogen_jax.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_READABLE_HEIGHT = 96
_MAX_ROW = 16
_GAP = 4
_FONT_SIZE = 16


def contact_sheet(
    frames_FHWC: np.ndarray,
    reference_HWC: np.ndarray | None = None,
    columns: int | None = None,
    scale: int | None = None,
    caption: str | None = None,
) -> "Image":
    """Draws the reference, if any, then the frames in rows, under an optional caption.

    Args:
        frames_FHWC: the clip.
        reference_HWC: of any size; shrunk or enlarged into a cell of a frame's size.
        columns: frames in a row; default: one row of up to 16 frames, or rows of 16.
        scale: integer enlargement; default: the smallest for frames at least 96 pixels high.
        caption: wrapped to the width of the sheet.

    Returns:
        RGB image on white.

    Raises:
        UserError: `columns` or `scale` is below 1.
    """
    from PIL import Image, ImageDraw, ImageOps

    num_frames, (height, width) = len(frames_FHWC), frames_FHWC.shape[1:3]
    if columns is None:
        columns = min(num_frames, _MAX_ROW)
    if scale is None:
        scale = math.ceil(_READABLE_HEIGHT / height)
    if columns < 1 or scale < 1:
        raise UserError(f"columns is {columns} and scale is {scale}, expected at least 1")
    cell_w, cell_h = width * scale, height * scale
    step_w, step_h = cell_w + _GAP, cell_h + _GAP
    # The reference stands apart from the frames by a wider gap.
    left = _GAP if reference_HWC is None else step_w + 3 * _GAP
    sheet_w = left + min(columns, num_frames) * step_w
    text, text_h = _wrapped(caption, sheet_w - 2 * _GAP)
    top = _GAP + text_h

    sheet = Image.new("RGB", (sheet_w, top + math.ceil(num_frames / columns) * step_h), "white")
    if text:
        ImageDraw.Draw(sheet).multiline_text((_GAP, _GAP), text, "black", font=_font())
    if reference_HWC is not None:
        cell = ImageOps.pad(Image.fromarray(reference_HWC), (cell_w, cell_h), color="white")
        sheet.paste(cell, (_GAP, top))
    for index, frame_HWC in enumerate(frames_FHWC):
        row, column = divmod(index, columns)
        cell = Image.fromarray(frame_HWC).resize((cell_w, cell_h), Image.Resampling.NEAREST)
        sheet.paste(cell, (left + column * step_w, top + row * step_h))
    return sheet


def stack_sheets(sheets: Sequence["Image"]) -> "Image":
    """Stacks pictures vertically on white, flush left, such as the sheets of several clips."""
    from PIL import Image

    height = sum(sheet.height for sheet in sheets)
    stacked = Image.new("RGB", (max(sheet.width for sheet in sheets), height), "white")
    top = 0
    for sheet in sheets:
        stacked.paste(sheet, (0, top))
        top += sheet.height
    return stacked


def _font():
    from PIL import ImageFont

    return ImageFont.load_default(_FONT_SIZE)


def _wrapped(caption: str | None, width: int) -> tuple[str, int]:
    """Returns the caption, with line breaks to fit `width` pixels, and its height."""
    from PIL import Image, ImageDraw

    if not caption:
        return "", 0
    font, lines = _font(), [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    text = "\n".join(lines)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return text, math.ceil(measure.multiline_textbbox((0, 0), text, font=font)[3]) + 2 * _GAP
