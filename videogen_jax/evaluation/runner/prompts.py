"""The prompts of an evaluation: sentences of UCF-101's classes, captions of datasets, lists."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videogen_jax.data.clips.sources.layouts import class_caption
from videogen_jax.data.clips.sources.text_rows import captions_of
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.json_text import read_json_object
from videogen_jax.text_files import read_text

UCF101_FILE = Path(__file__).parents[2] / "assets" / "evaluation" / "ucf101_prompts.json"
"""A sentence of ours for each class of UCF-101, in the form of `videogen ingest --prompts`."""

UCF101, UCF101_CLASSES, REAL = "ucf101", "ucf101-classes", "real"
_MSRVTT = (
    "MSR-VTT's captions are in test_videodatainfo.json of its test set (or in a JSON file of the "
    "same form with all splits, of which the test split is taken)"
)


@dataclass(frozen=True)
class Prompts:
    """A list of prompts.

    Attributes:
        source: Where they are from: a name, or a file.
        texts: All of them, before `chosen`.
    """

    source: str
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.texts:
            raise UserError(f"{self.source}: there are no prompts")
        if empty := [number for number, text in enumerate(self.texts) if not text.strip()]:
            raise UserError(f"{self.source}: prompt {empty[0]} (from 0) is empty")


def read_prompts(source: str, real_captions: Sequence[str] = ()) -> Prompts:
    """Reads prompts.

    Args:
        source: `ucf101` for the sentences that ship, `ucf101-classes` for its class names in words,
            `real` for the captions of the real videos; or a file: .txt with a prompt in each line,
            .json of MSR-VTT or of texts by class.
        real_captions: Captions of the real videos.

    Raises:
        MissingFile: There is no such file.
        UserError: It is not in one of these forms, or there are no prompts.
    """
    if source == "":
        raise UserError(f"this protocol needs --prompts FILE: {_MSRVTT}")
    if source == REAL:
        if not real_captions or not all(real_captions):
            raise UserError(f"prompts {REAL!r} are the captions of --real, which has none")
        return Prompts(REAL, tuple(real_captions))
    if source in (UCF101, UCF101_CLASSES):
        classes = read_json_object(UCF101_FILE)
        named = source == UCF101_CLASSES
        return Prompts(source, tuple(class_caption(n) if named else classes[n] for n in classes))
    path = Path(source)
    if not path.is_file():
        names = f"{UCF101}, {UCF101_CLASSES} and {REAL}"
        raise MissingFile(f"no file of prompts {path} (the names are {names}). {_MSRVTT}")
    if path.suffix.lower() != ".json":
        return Prompts(source, tuple(line for line in read_text(path).splitlines() if line.strip()))
    data = read_json_object(path)
    if "sentences" in data:
        return Prompts(source, msrvtt_captions(path))
    texts = [captions_of(value, f"the class {key}", source) for key, value in data.items()]
    return Prompts(source, tuple(text for several in texts for text in several))


def msrvtt_captions(path: Path, split: str = "test") -> tuple[str, ...]:
    """Returns all captions of a split of MSR-VTT, in the order of the file.

    Raises:
        UserError: The file has not MSR-VTT's lists, or no captions of the split.
    """
    data = read_json_object(path)
    try:
        videos = {video["video_id"] for video in data["videos"] if video["split"] == split}
        texts = [one["caption"] for one in data["sentences"] if one["video_id"] in videos]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected MSR-VTT's lists, videos (video_id, split) and sentences (video_id, "
            f"caption): {error!r}"
        ) from error
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{path}: expected captions of the split {split!r}, found {len(texts)}")
    return tuple(texts)


def chosen(prompts: Prompts, protocol: Protocol) -> tuple[str, ...]:
    """Returns the prompt of every video that the protocol generates.

    Raises:
        UserError: There are fewer captions than the protocol draws.
    """
    texts, count = prompts.texts, protocol.num_videos
    if protocol.caption_seed is None:
        return tuple(texts[index % len(texts)] for index in range(count or len(texts)))
    if count is None or count > len(texts):
        wanted = "num-videos" if count is None else f"{count} captions"
        raise UserError(f"{prompts.source} has {len(texts)} captions, drawing needs {wanted}")
    order = np.random.default_rng(protocol.caption_seed).permutation(len(texts))[:count]
    return tuple(texts[index] for index in order)


def sha256(texts: Sequence[str]) -> str:
    """Returns the hash of prompts in their order: of UTF-8 with a newline after each."""
    return hashlib.sha256("".join(f"{text}\n" for text in texts).encode()).hexdigest()
