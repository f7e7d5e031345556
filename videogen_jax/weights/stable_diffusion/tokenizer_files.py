"""The files of a CLIP tokenizer: checked, and copied into model directories."""

import hashlib
import shutil
from pathlib import Path

from videogen_jax.errors import MissingFile

_VOCABULARIES = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_CONFIG = "tokenizer_config.json"
_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    _CONFIG,
    "special_tokens_map.json",  # only older transformers wrote it
)


def check_tokenizer(folder: Path) -> None:
    """Raises MissingFile unless there is a CLIP tokenizer, in its old form or its new one."""
    missing = [
        [name for name in (*files, _CONFIG) if not (folder / name).is_file()]
        for files in _VOCABULARIES
    ]
    if all(missing):
        raise MissingFile(f"no {', '.join(missing[0])} in {folder}")


def tokenizer_sha256(folder: Path) -> str:
    """Of names and contents of the files that there are."""
    digest = hashlib.sha256()
    for name in _FILES:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the files that there are into a new folder."""
    target.mkdir()
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
