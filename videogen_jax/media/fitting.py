"""Fitting a picture to another aspect ratio."""

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Fit: TypeAlias = Literal["crop", "pad", "stretch"]


def fitted(
    picture: "Image",
    size: tuple[int, int],
    fit: Fit = "crop",
    background: tuple[int, int, int] | None = None,
) -> "Image":
    """Resizes an RGB picture (antialiased).

    Args:
        picture: of any size.
        size: `(height, width)` of the result.
        fit: "crop" keeps the centre of the wanted aspect ratio, "pad" keeps the whole picture and
            fills the rest with `background`, "stretch" changes the aspect ratio.
        background: 0..255; by default the picture's mean colour.
    """
    from PIL import Image, ImageOps

    height, width = size
    match fit:
        case "crop":
            return ImageOps.fit(picture, (width, height), method=Image.Resampling.LANCZOS)
        case "pad":
            mean = np.asarray(picture).reshape(-1, 3).mean(0).round().astype(int)
            red, green, blue = mean if background is None else background
            return ImageOps.pad(
                picture,
                (width, height),
                method=Image.Resampling.LANCZOS,
                color=f"rgb({red}, {green}, {blue})",
            )
        case "stretch":
            return picture.resize((width, height), resample=Image.Resampling.LANCZOS)
