import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from videogen_jax.media.image_files import ImageLimits, load_image

RED, GREEN = (255, 0, 0), (0, 255, 0)


def halves(height: int, width: int) -> np.ndarray:
    """Returns a picture whose left half is red and whose right half is green."""
    image = np.full((height, width, 3), GREEN, np.uint8)
    image[:, : width // 2] = RED
    return image


def test_reads_pixels_exactly(tmp_path):
    Image.fromarray(halves(6, 8)).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    assert image.dtype == np.uint8 and image.flags.writeable
    np.testing.assert_array_equal(image, halves(6, 8))


def test_crops_the_centre_to_the_aspect_then_resizes(tmp_path):
    wide = np.full((20, 60, 3), RED, np.uint8)
    wide[:, 20:40] = GREEN
    Image.fromarray(wide).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", (40, 40))
    assert image.shape == (40, 40, 3)
    # The filter reaches slightly beyond the crop.
    np.testing.assert_array_equal(image[:, 6:-6] - np.array(GREEN), 0)
    assert load_image(tmp_path / "a.png", (10, 30)).shape == (10, 30, 3)


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", (8, 8)).astype(int)
    assert np.abs(image - 127).max() < 20


def test_turns_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees clockwise for display
    Image.fromarray(halves(6, 8)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), np.rot90(halves(6, 8), -1))


def test_transparency_is_white(tmp_path):
    pixels = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        load_image(tmp_path / "a.png"), [[[255, 255, 255], [255, 0, 0], [127, 127, 127]]]
    )


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA"])
def test_other_modes(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (8, 6), "white").convert(mode).save(path)
    np.testing.assert_array_equal(load_image(path), np.full((6, 8, 3), 255))


def test_sixteen_bits_are_scaled(tmp_path):
    levels = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png")[..., 0], [[0, 100, 255]])


def test_bad_files_are_named(tmp_path):
    Image.fromarray(halves(60, 80)).save(tmp_path / "truncated.png")
    content = (tmp_path / "truncated.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(content[:-30])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tiff")
    for name in ("truncated.png", "text.png", "folder.png", "float.tiff"):
        with pytest.raises(ValueError, match=f"{name} is not an image that can be read"):
            load_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no image file .*nothing.png"):
        load_image(tmp_path / "nothing.png")


def test_a_broken_avif_is_named(tmp_path):
    path = tmp_path / "a.avif"
    Image.fromarray(halves(60, 80)).save(path)
    content = path.read_bytes()
    start = content.index(b"mdat") + 8
    path.write_bytes(content[:start] + bytes(len(content) - start))
    with pytest.raises(ValueError, match="a.avif is not an image that can be read"):
        load_image(path)


@pytest.mark.parametrize("kind", [RuntimeError, EOFError, IndexError, KeyError, struct.error])
def test_errors_of_the_formats_readers_are_named(tmp_path, monkeypatch, kind):
    def fail(path):
        raise kind("broken")

    (tmp_path / "a.avif").write_bytes(b"x")
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ValueError, match="a.avif is not an image that can be read"):
        load_image(tmp_path / "a.avif")


def test_too_large_is_refused(tmp_path, monkeypatch):
    Image.fromarray(halves(6, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ValueError, match="a.png is not an image that can be read"):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("size", "limits", "message"),
    [
        ((1, 100_000_000), ImageLimits(), "it has 1x100000000 pixels, expected a longer side of"),
        (
            (100_000, 1),
            ImageLimits(),
            "it has 100000x1 pixels, expected a longer side of at most 64",
        ),
        ((65, 1), ImageLimits(), "longer side of at most 64 times"),
        (
            (12_000, 12_000),
            ImageLimits(max_pixels=10**8),
            "12000x12000 pixels, expected at most 10",
        ),
    ],
)
def test_limits_are_checked_before_pixels_are_read(tmp_path, size, limits, message):
    """The file is only the header of a picture."""
    header = b"IHDR" + struct.pack(">2I5B", *size, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    pixels = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + pixels)
    with pytest.raises(ValueError, match=f"a.png is not an image that can be read: .*{message}"):
        load_image(tmp_path / "a.png", (8, 8), limits)


def test_long_pictures_within_the_limits_are_read(tmp_path):
    Image.new("RGB", (64, 1), RED).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", (2, 2)).tolist() == [[list(RED)] * 2] * 2


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png is not an image .*: it is not a regular file"):
        load_image(tmp_path / "a.png")


def test_size_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match=r"size is \(0, 8\)"):
        load_image(tmp_path / "a.png", (0, 8))
