"""Check, checksum and copy of the files of a CLIP tokenizer."""

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
    "added_tokens.json",  # only older transformers wrote it
    _CONFIG,
    "special_tokens_map.json",  # only older transformers wrote it
)


def check_tokenizer(folder: Path) -> None:
    """Raises MissingFile unless the folder has a CLIP tokenizer, in the old or the new format."""
    missing = [
        [name for name in (*files, _CONFIG) if not (folder / name).is_file()]
        for files in _VOCABULARIES
    ]
    if all(missing):
        raise MissingFile(f"no {', '.join(missing[0])} in {folder}")


def tokenizer_sha256(folder: Path) -> str:
    """Returns a digest of the names and contents of a tokenizer's files."""
    digest = hashlib.sha256()
    for name in _FILES:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies a tokenizer's files into a new folder."""
    target.mkdir(parents=True)
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
