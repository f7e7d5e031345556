"""The configuration of an ingest, and how that of an earlier run differs from it."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from videogen_jax.data.clips.files.clip_config import ClipConfig
from videogen_jax.data.clips.files.splitting import SplitConfig
from videogen_jax.data.clips.sources.lists import SourceOptions
from videogen_jax.errors import UserError


@dataclass(frozen=True)
class IngestConfig:
    """Everything that determines the content of a dataset.

    Attributes:
        source: absolute path of the list or folder.
        reading: how it is read.
        clip: how clips are transcoded.
        clips_per_shard: rows of the source per shard.
        split: how files are split into clips.
        filters: filters of one's own, each `module:function`, see `record_filters.py`.
    """

    source: str
    reading: SourceOptions = SourceOptions()
    clip: ClipConfig = ClipConfig()
    clips_per_shard: int = 256
    split: SplitConfig = SplitConfig()
    filters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.clips_per_shard < 1:
            raise UserError(f"clips_per_shard must be >= 1, got {self.clips_per_shard}")


@dataclass(frozen=True)
class Begun:
    """The start of a dataset: its configuration, and the number and digest of the source's rows."""

    config: IngestConfig
    num_clips: int
    list_sha256: str


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns a text for each field that differs between two configurations.

    A field that the earlier version of the program did not have is compared with its default.
    """
    defaults = json.loads(json.dumps(asdict(Begun(IngestConfig(""), 0, ""))))
    then_values, now_values = {**_flat(defaults), **_flat(then)}, _flat(now)
    return [
        f"{name} is {now_values.get(name)!r}, was {then_values.get(name)!r}"
        for name in sorted(then_values.keys() | now_values.keys())
        if then_values.get(name) != now_values.get(name)
    ]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of nested dicts by their paths, without the leading `config.`."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat = {}
    for key, value in tree.items():
        name = key if prefix in ("", "config") else f"{prefix}.{key}"
        flat.update(_flat(value, name))
    return flat
