"""The report of `python -m train.inspect` on a dataset."""

import numpy as np
import pytest
from PIL import Image

from tests.support.numbered_clips import H, numbered_frame, write_numbered
from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.ingest import ingest
from videogen_jax.data.clips.ingest_config import IngestConfig
from videogen_jax.data.clips.records import ClipDataset
from videogen_jax.data.clips.report import (
    Statistics,
    plot_statistics,
    save_sample_sheet,
    statistics,
    summary,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_numbered(folder / "a.mp4", count=26)
    write_numbered(folder / "b.mp4", count=20, rate=10, h=H, w=2 * H)
    (folder / "a.txt").write_text("three small words\none")
    (folder / "c.mp4").write_bytes(b"")
    ingest(IngestConfig(str(folder), clip=ClipConfig(H, min_side=32)), folder / "out")
    return folder / "out"


def test_summary(dataset):
    assert summary(ClipDataset(dataset).info).splitlines() == [
        "2 clips, 46 frames, 3.0 s, 2 captions, 1 shards",
        "fps: 25 (1), 10 (1)",
        "sizes: 64x48 (1), 96x48 (1)",
        "rejected: undecodable (1)",
    ]


def test_statistics(dataset):
    found = statistics(ClipDataset(dataset), 10, 0)
    assert found == Statistics(2, (1.04, 2.0), (25.0, 10.0), ("64x48", "96x48"), (3, 1))
    drawn = {statistics(ClipDataset(dataset), 1, seed).fps for seed in range(10)}
    assert drawn == {(25.0,), (10.0,)}
    with pytest.raises(ValueError, match="limit must be >= 1"):
        statistics(ClipDataset(dataset), 0, 0)


def test_sheet_has_a_row_of_frames_for_each_clip(dataset, tmp_path):
    path = save_sample_sheet(dataset, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(path)).astype(int)
    first = numbered_frame(0, 96, 128).astype(int)  # all blocks are black
    places = [
        y for y in range(len(sheet) - 96) if np.abs(sheet[y : y + 96, 4:132] - first).max() < 40
    ]
    assert len(places) and min(places) > 16  # below the caption
    height = sheet.shape[0]
    one = np.asarray(Image.open(save_sample_sheet(dataset, tmp_path / "one.png", samples=1)))
    assert one.shape[0] * 2 == height
    with pytest.raises(ValueError, match="samples must be >= 1"):
        save_sample_sheet(dataset, path, samples=0)


def test_plot(tmp_path):
    rates = tuple(float(n) for n in range(1, 30))
    numbers = Statistics(100, rates, rates, ("64x64",) * 29, ())
    path = plot_statistics(numbers, tmp_path / "plot.png")
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape == (700, 1100, 3)
    quarters = [half for part in np.split(picture[:700], 2) for half in np.split(part, 2, axis=1)]
    blue = [
        (np.abs(quarter.astype(int) - [31, 119, 180]).sum(-1) < 6).mean() for quarter in quarters
    ]
    assert min(blue[:3]) > 0.05 and blue[3] == 0  # no captions, nothing drawn
