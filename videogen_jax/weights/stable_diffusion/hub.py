"""Download of diffusers folders from the Hugging Face hub: only the files that are read."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from videogen_jax.errors import MissingFile
from videogen_jax.weights.files import index_files
from videogen_jax.weights.stable_diffusion.folder import (
    CONFIG_FILES,
    FOLDERS,
    Variant,
    choose_weights,
)
from videogen_jax.weights.stable_diffusion.sources import Component

_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(source: str) -> bool:
    """Returns True if `source` has the form "owner/name" of a hub id."""
    return _ID.fullmatch(source) is not None and not source.startswith(".")


def download(repo: str, components: Iterable[Component], variant: Variant | None = None) -> Path:
    """Downloads the files of a hub repository that `components` need; returns the local folder.

    Interrupted downloads are resumed. Cached files are reused; with HF_HUB_OFFLINE set nothing is
    downloaded.

    Raises:
        MissingFile: The repository does not exist, or it cannot be reached and is not cached.
    """
    import huggingface_hub
    from huggingface_hub import constants

    offline = constants.is_offline_mode()

    def fetch(patterns: Iterable[str]) -> Path:
        folder = huggingface_hub.snapshot_download(
            repo, allow_patterns=list(patterns), local_files_only=offline
        )
        return Path(folder)

    try:
        folder = fetch([*CONFIG_FILES, "tokenizer/*"])
        names = _names(folder) if offline else huggingface_hub.HfApi().list_repo_files(repo)
        weights = [_weights(names, FOLDERS[name], variant) for name in components]
        folder = fetch([*CONFIG_FILES, "tokenizer/*", *filter(None, weights)])
        shards = [shard for name in filter(None, weights) for shard in _shards(folder, name)]
        return fetch([*CONFIG_FILES, *shards]) if shards else folder
    except (OSError, _http_error()) as error:
        why = "the hub is switched off (HF_HUB_OFFLINE)" if offline else f"{error}".split("\n")[0]
        raise MissingFile(
            f"no file or folder {repo}, and no copy of the hub's {repo} in "
            f"{constants.HF_HUB_CACHE}: {why}"
        ) from error


def _http_error() -> Any:
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]


def _weights(names: Iterable[str], folder: str, variant: Variant | None) -> str | None:
    inside = [n.removeprefix(f"{folder}/") for n in names if n.startswith(f"{folder}/")]
    name = choose_weights(inside, variant) or choose_weights(inside)
    return f"{folder}/{name}" if name else None


def _shards(folder: Path, name: str) -> set[str]:
    if not name.endswith(".json"):
        return set()
    component = name.rsplit("/", 1)[0]
    return {f"{component}/{shard}" for shard in index_files(folder / name).values()}
