"""Videos for a user study, and the page in a headless Chromium."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.media.video import Video


def write_videos(folder: Path, count: int, *, seed: int = 0, resolution: int = 32) -> Path:
    """Writes captioned clips `clip_0.mp4` …; the captions do not depend on `seed`."""
    folder.mkdir(parents=True)
    captions = ShapesClips("validation", count)
    clips = ShapesClips("validation", count, resolution=resolution, num_frames=8, seed=seed)
    for index in range(count):
        example = clips[index]
        Video(example["video"], float(example["fps"])).save(folder / f"clip_{index}.mp4")
        (folder / f"clip_{index}.txt").write_text(captions[index]["caption"] + "\n")
    return folder


@contextlib.contextmanager
def chromium(**options: Any) -> Iterator[Any]:
    """Yields a new page of the machine's own Chromium; skips the test if there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser.new_page(**options)
        finally:
            browser.close()
