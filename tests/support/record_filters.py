"""A filter of one's own for ingest."""

from videogen_jax.data.clips.records import ClipRecord
from videogen_jax.data.clips.video import decode_window


def at_most_24_frames(record: ClipRecord) -> str | None:
    """Rejects longer clips, after decoding a frame."""
    assert decode_window(record.video, 0, 1).shape == (1, record.h, record.w, 3)
    return "too_many" if record.num_frames > 24 else None
