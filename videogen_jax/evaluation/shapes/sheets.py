"""Contact sheets of several videos in one picture, and the choice of the worst videos."""

from collections.abc import Sequence
from pathlib import Path

from videogen_jax.atomic import replacing
from videogen_jax.evaluation.shapes.analyser import Reading, analyse
from videogen_jax.evaluation.shapes.measures import steadiness
from videogen_jax.media.contact_sheet import stack_sheets
from videogen_jax.media.video import Video


def save_sheet(path: Path, videos: Sequence[Video], scale: int = 1) -> None:
    """Writes a PNG: for each video its prompt, its reference if it has one, and its frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [video.contact_sheet(scale=scale, caption=video.prompt) for video in videos]
    with replacing(path) as temporary:
        stack_sheets(rows).save(temporary, format="PNG")


def worst_of(videos: Sequence[Video], asked: Sequence[Reading], count: int) -> list[Video]:
    """Returns the videos that match their captions least, worst first.

    They are ordered by the number of attributes read wrong, then by the number that the object does
    not keep.
    """

    def faults(pair: tuple[Video, Reading]) -> int:
        video, wanted = pair
        kept = steadiness(video.frames, str(wanted.motion))
        lost = 3 - kept.colour - kept.shape - kept.size
        return 4 * wrong_attributes(analyse(video.frames), wanted) + lost

    ordered = sorted(zip(videos, asked, strict=True), key=faults, reverse=True)
    return [video for video, _ in ordered[:count]]


def wrong_attributes(read: Reading, wanted: Reading) -> int:
    """Counts the requested attributes that are read as something else."""
    pairs = ((getattr(read, name), value) for name, value in vars(wanted).items())
    return sum(value is not None and found != value for found, value in pairs)
