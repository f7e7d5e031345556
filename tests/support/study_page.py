"""Videos for a user study."""

from pathlib import Path

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
