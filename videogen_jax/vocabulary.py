"""The vocabulary in the files of a CLIP tokenizer, read without importing transformers."""

from pathlib import Path
from typing import Any

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.json_text import read_json_object

START_TOKEN = "<|startoftext|>"
END_TOKEN = "<|endoftext|>"


def end_of_text(directory: Path, vocab_size: int, end_id: int | None) -> int:
    """Returns a tokenizer's end-of-text token, after a check that it fits a text encoder.

    The text encoder may have more embeddings than the tokenizer has tokens, such as those of added
    tokens, or of a size that was rounded up. transformers is not imported.

    Args:
        directory: as for `load_tokenizer`.
        vocab_size: number of embeddings of the text encoder.
        end_id: the text encoder's end-of-text token; None if it is not known.

    Raises:
        MissingFile: a file is missing.
        UserError: a file is damaged, or the vocabulary is of another text encoder.
    """
    vocab = read_vocab(directory)
    end, count = vocab[END_TOKEN], len(vocab)
    # Far fewer tokens than embeddings are the vocabulary of another model.
    fits = set(vocab.values()) == set(range(count)) and count <= vocab_size < 2 * count
    if not fits or end_id not in (None, end):
        known = vocab_size - 1 if end_id is None else end_id
        raise UserError(
            f"{directory} has {count} tokens, end-of-text {end}; "
            f"expected the text encoder's {vocab_size}, end-of-text {known}"
        )
    return end


def read_vocab(directory: Path) -> dict[str, int]:
    """Reads the ids of all tokens, those that were added to CLIP's vocabulary included.

    Raises:
        MissingFile: a file is missing.
        UserError: a file is damaged, or lacks CLIP's special tokens.
    """
    path = directory / "tokenizer.json"
    if path.is_file():
        content = read_json_object(path, "tokenizer file")
        model = content.get("model")
        vocab = dict(_ids(path, model.get("vocab") if isinstance(model, dict) else None))
        vocab |= _added(path, content.get("added_tokens", []))
    else:
        path = directory / "vocab.json"
        vocab = dict(_ids(path, read_json_object(path, "tokenizer file")))
        if not (directory / "merges.txt").is_file():
            raise MissingFile(f"no tokenizer file {directory / 'merges.txt'}")
    if missing := {START_TOKEN, END_TOKEN} - vocab.keys():
        raise UserError(f"{path}: not a CLIP vocabulary, it lacks {', '.join(sorted(missing))}")
    return vocab | _added_beside(directory)


def _added_beside(directory: Path) -> dict[str, int]:
    """Reads the added tokens that older transformers wrote beside the vocabulary."""
    added: dict[str, int] = {}
    if (directory / "added_tokens.json").is_file():
        path = directory / "added_tokens.json"
        added |= _ids(path, read_json_object(path, "tokenizer file"))
    path = directory / "tokenizer_config.json"
    if path.is_file():
        entries = read_json_object(path, "tokenizer file").get("added_tokens_decoder", {})
        if not isinstance(entries, dict) or not all(id.isdecimal() for id in entries):
            raise UserError(f"{path}: added_tokens_decoder is not an object of tokens by id")
        tokens = [
            {**token, "id": int(id)} if isinstance(token, dict) else token
            for id, token in entries.items()
        ]
        added |= _added(path, tokens)
    return added


def _added(path: Path, tokens: Any) -> dict[str, int]:
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        raise UserError(f"{path}: the added tokens are not a list of objects")
    return dict(_ids(path, {token.get("content"): token.get("id") for token in tokens}))


def _ids(path: Path, vocab: Any) -> dict[str, int]:
    """Returns `vocab`, after a check that it has token ids by token."""
    if not isinstance(vocab, dict) or not all(
        isinstance(token, str) and type(id) is int for token, id in vocab.items()
    ):
        raise UserError(f"{path}: not a CLIP vocabulary, expected ids by token")
    return vocab
