"""Clips out of a prepared TensorFlow Datasets folder in ArrayRecord format, without tensorflow.

The dataset must hold whole video files as bytes (a `Text` feature); TFDS's own `Video` feature
needs tensorflow and stores each frame as a picture.
"""

from typing import Any


def open_split(directory: str, split: str) -> Any:
    """The split as a random-access source of dicts.

    Raises:
        ValueError: tensorflow_datasets is not installed, there is no such split, or the folder is
            not a dataset in ArrayRecord format.
    """
    try:
        import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"{directory}: reading TFDS needs `pip install tensorflow-datasets` ({error})"
        ) from error
    try:
        # Its decorators hide the arguments from a type checker.
        open_builder: Any = tfds.builder_from_directory
        return open_builder(directory).as_data_source(split)
    except Exception as error:  # TFDS raises its own types for each of its formats
        raise ValueError(f"{directory}: cannot read split {split!r} by TFDS: {error}") from error


def video_and_captions(
    example: dict[str, Any], video_key: str, caption_key: str, where: str
) -> tuple[bytes, tuple[str, ...]]:
    """The video file's bytes and the caption of an example.

    Raises:
        ValueError: a key is not there, or is no bytes.
    """
    for key in (video_key, caption_key):
        if key not in example:
            raise ValueError(f"{where}: no feature {key!r}; there are: {', '.join(example)}")
    video, caption = example[video_key], example[caption_key]
    if not isinstance(video, bytes):
        raise ValueError(
            f"{where}: {video_key!r} is {type(video).__name__}, expected the bytes of a video file"
        )
    text = caption.decode("utf-8") if isinstance(caption, bytes) else str(caption)
    return video, (text,) if text.strip() else ()
