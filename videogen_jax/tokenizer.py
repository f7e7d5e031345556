"""Byte-level BPE tokenizer in CLIP's format: loading, building and saving.

CLIP's vocabulary (Radford et al. 2021, released with the reference implementation) is, in order:
256 byte symbols, the same 256 ending a word (`</w>`), one entry per merge, `<|startoftext|>`,
`<|endoftext|>`. As every byte is a symbol, every string has tokens.

Shape letters: B captions, T tokens.
"""

import json
import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.json_text import read_json_object
from videogen_jax.paths import as_path, local_copy
from videogen_jax.vocabulary import END_TOKEN, START_TOKEN, read_vocab

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

WORD_END = "</w>"

_SPECIAL_TOKENS = re.compile("|".join(map(re.escape, (START_TOKEN, END_TOKEN))), re.IGNORECASE)
# CLIP's own pre-tokenisation: contractions, runs of letters, single digits, runs of anything else.
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class Tokenizer:
    """A map from captions to token ids: wraps a transformers `CLIPTokenizer` (`load_tokenizer`).

    Attributes:
        vocab_size: number of tokens, special and added ones included. Added tokens, as of textual
            inversion, come after end-of-text.
        largest_id: the largest id of a token.
        start_id, end_id: the tokens that start and end every caption.
        pad_id: the token that pads to the length; end-of-text in Stable Diffusion 1 and in the
            shapes tokenizer.
        max_length: the text encoder's context length, as the tokenizer's files state it.
        directory: the folder of those files.
    """

    def __init__(self, clip_tokenizer: "CLIPTokenizer", directory: Path):
        self._clip_tokenizer = clip_tokenizer
        self.directory = directory
        self.vocab_size: int = len(clip_tokenizer)
        vocab = clip_tokenizer.get_vocab()
        self.largest_id = max(vocab.values())
        self.start_id: int = vocab[START_TOKEN]
        self.end_id: int = vocab[END_TOKEN]
        pad_token = str(clip_tokenizer.pad_token)
        if pad_token not in vocab:
            raise UserError(f"{directory}: the padding token {pad_token!r} has no id")
        self.pad_id: int = vocab[pad_token]
        self.max_length: int = clip_tokenizer.model_max_length
        added = clip_tokenizer.added_tokens_decoder.items()
        self._added_specials = {
            str(token): id for id, token in added if token.special and id > self.end_id
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_clip_tokenizer": pickle.dumps(self._clip_tokenizer)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _import_clip_tokenizer()  # before pickle imports transformers, in another process
        vars(self).update(state, _clip_tokenizer=pickle.loads(state["_clip_tokenizer"]))

    def __call__(self, captions: Sequence[str], max_length: int | None = None) -> np.ndarray:
        """Tokenises captions.

        A caption that is too long is truncated, with a warning that quotes the removed text. The
        literal texts of the special tokens are removed: a prompt cannot end itself. The text of the
        padding token, "!" in Stable Diffusion 2, is a word like any other, as in OpenCLIP, with
        which that model was trained; transformers and diffusers take it for padding.

        Args:
            max_length: T; the tokenizer's own `max_length` by default.

        Returns:
            int32 [B, T]: start of text, the caption, end of text, padding.

        Raises:
            ValueError: a string instead of a list.
            UserError: a max_length below 2.
        """
        length = self.max_length if max_length is None else max_length
        if isinstance(captions, str):
            raise ValueError("captions must be a list of strings, got one string")
        if length < 2:
            raise UserError(f"max_length must be >= 2 (start and end of text), got {length}")
        tokens_BT = np.full((len(captions), length), self.pad_id, np.int32)
        for row_T, caption in zip(tokens_BT, captions, strict=True):
            ids = self._encode(caption)
            if cut := ids[length - 2 :]:
                warnings.warn(
                    f"caption cut to {length} tokens; lost: {self._clip_tokenizer.decode(cut)!r}",
                    stacklevel=2,
                )
            ids = [self.start_id, *ids[: length - 2], self.end_id]
            row_T[: len(ids)] = ids
        return tokens_BT

    def token(self, id: int) -> str:
        """Returns the text of a token."""
        return str(self._clip_tokenizer.convert_ids_to_tokens(id))

    def misfit(self, vocab_size: int, end_id: int) -> str | None:
        """Returns what keeps a text encoder from taking this tokenizer's tokens, or None.

        Args:
            vocab_size: number of embeddings of the text encoder; there may be more of them than
                tokens.
            end_id: its end-of-text token.
        """
        if self.largest_id < vocab_size and self.end_id == end_id:
            return None
        return (
            f"the tokenizer has {self.vocab_size} tokens, end-of-text {self.end_id}; "
            f"the text encoder {vocab_size}, end-of-text {end_id}"
        )

    def _encode(self, caption: str) -> list[int]:
        pieces = [_SPECIAL_TOKENS.sub(" ", caption)]
        if self._added_specials:
            names = "|".join(map(re.escape, self._added_specials))
            pieces = re.split(f"({names})", pieces[0])
        ids = []
        for piece in pieces:
            if piece in self._added_specials:
                ids.append(self._added_specials[piece])
            else:
                ids += self._clip_tokenizer.encode(
                    piece, add_special_tokens=False, split_special_tokens=True, verbose=False
                )
        return ids

    def decode(self, tokens_T: Sequence[int] | np.ndarray) -> str:
        """Returns a row's caption: lower case, with blanks between words and punctuation."""
        ids = np.asarray(tokens_T).tolist()
        return str(self._clip_tokenizer.decode(ids, skip_special_tokens=True))


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """Loads a tokenizer in CLIP's format.

    Args:
        directory: folder of `tokenizer_config.json` and the vocabulary, either `vocab.json` with
            `merges.txt`, as Stable Diffusion ships it, or `tokenizer.json`, as transformers 5
            saves it.

    Raises:
        MissingFile: a file is missing.
        UserError: a file is damaged, or transformers loaded another vocabulary than the files'.
    """
    directory = local_copy(as_path(directory))
    vocab = read_vocab(directory)
    config = read_json_object(directory / "tokenizer_config.json", "tokenizer file")
    length = config.get("model_max_length")
    if not isinstance(length, int | float) or length < 2:
        raise UserError(
            f"{directory / 'tokenizer_config.json'}: model_max_length is {length!r}, "
            "expected a number of at least 2"
        )
    clip_tokenizer_class = _import_clip_tokenizer()
    try:
        clip_tokenizer = clip_tokenizer_class.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exceptions, transformers many types
        reason = " ".join(str(error).split())
        raise UserError(f"{directory}: transformers cannot load the tokenizer: {reason}") from error
    # For input that it does not recognise, transformers 5 silently makes a vocabulary of 3 words.
    if clip_tokenizer.get_vocab() != vocab:
        raise UserError(
            f"{directory}: transformers loaded another vocabulary ({len(clip_tokenizer)} tokens) "
            f"than that of the files ({len(vocab)} tokens)"
        )
    return Tokenizer(clip_tokenizer, directory)


def _import_clip_tokenizer() -> "type[CLIPTokenizer]":
    """Imports `CLIPTokenizer` without transformers' advice to install PyTorch.

    The filter stays, because transformers can run the code that gives the advice again.
    """
    logging.getLogger("transformers").addFilter(_is_not_about_pytorch)
    from transformers import CLIPTokenizer

    return CLIPTokenizer


def _is_not_about_pytorch(record: logging.LogRecord) -> bool:
    return "PyTorch was not found" not in record.getMessage()


def build_bpe(
    captions: Iterable[str], num_merges: int
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learns a vocabulary in CLIP's order from captions.

    Args:
        num_merges: the largest number of merges; fewer are made if every word is one token.

    Returns:
        vocabulary (token to id, 514 + number of merges entries), and the merges in order of
        priority.
    """
    from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
    from tokenizers import Tokenizer as BackendTokenizer

    backend = BackendTokenizer(models.BPE(end_of_word_suffix=WORD_END))
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    # The trainer's vocabulary size includes the symbols. It only knows the word-ending symbols that
    # occur, so the size is an upper bound and the list of merges is truncated.
    symbols = list(_byte_symbols())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(symbols) + num_merges,
        initial_alphabet=symbols,
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    backend.train_from_iterator(captions, trainer)
    learned = json.loads(backend.to_str())["model"]["merges"][:num_merges]
    merges = [(left, right) for left, right in learned]
    tokens = [*symbols, *(symbol + WORD_END for symbol in symbols)]
    tokens += [left + right for left, right in merges]
    tokens += [START_TOKEN, END_TOKEN]
    return {token: index for index, token in enumerate(tokens)}, merges


def _byte_symbols() -> Iterable[str]:
    """Yields a printable character for each byte, in CLIP's order (GPT-2's `bytes_to_unicode`).

    Printable Latin-1 characters stand for themselves; the other bytes, in order, take the
    characters from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    yield from map(chr, printable)
    yield from map(chr, range(256, 256 + 256 - len(printable)))


def save_clip_format(
    directory: str | Path,
    vocab: dict[str, int],
    merges: Sequence[tuple[str, str]],
    max_length: int,
) -> None:
    """Writes the files that `CLIPTokenizer.from_pretrained(directory)` loads.

    Args:
        max_length: the text encoder's context length, stated in the files.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    special = {
        "bos_token": START_TOKEN,
        "eos_token": END_TOKEN,
        "pad_token": END_TOKEN,
        "unk_token": END_TOKEN,
    }
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": max_length, **special}
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    texts = {
        "vocab.json": json.dumps(vocab, ensure_ascii=False) + "\n",
        "merges.txt": "\n".join(lines) + "\n",
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        "special_tokens_map.json": json.dumps(special, indent=2) + "\n",
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
