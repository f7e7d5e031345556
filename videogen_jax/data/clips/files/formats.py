"""The container formats that are read: those whose files have the video in themselves."""

import functools

# They name other files or addresses, which may be missing, endless or of another person.
_REFERRING = frozenset(
    "concat dash hls image2 imf lavfi rtp rtsp sap sdp webm_dash_manifest".split()
)


@functools.cache
def container_options() -> dict[str, str]:
    """Returns the options of `av.open` that exclude playlists, manifests and the like."""
    from av.format import formats_available

    allowed = (name for name in formats_available if not _REFERRING & set(name.split(",")))
    return {"format_whitelist": ",".join(sorted(allowed))}
