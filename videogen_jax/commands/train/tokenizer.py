"""Builds the tokenizer of the shapes model: `videogen tokenizer OUT_DIR`."""

from functools import partial
from pathlib import Path

import numpy as np
import tyro

from videogen_jax.atomic import require_new_directory
from videogen_jax.cli import command
from videogen_jax.data.shapes.captions import caption
from videogen_jax.data.shapes.world import clip_spec
from videogen_jax.tokenizer import build_bpe, save_clip_format


def main(
    out_dir: tyro.conf.Positional[Path],
    /,
    clips: int = 20_000,
    merges: int = 510,
    max_length: int = 32,
) -> None:
    """Builds a byte-level BPE tokenizer in CLIP's format from the captions of the shapes clips.

    Args:
        out_dir: new directory for vocab.json, merges.txt and the two config files.
        clips: number of training captions to learn from.
        merges: largest number of merges; the vocabulary has 514 more tokens.
        max_length: context length of the text encoder, written into the config.
    """
    require_new_directory(out_dir)
    specs = (clip_spec("train", index) for index in range(clips))
    captions = (caption(spec, np.random.default_rng(spec.caption_seed)) for spec in specs)
    vocab, learned = build_bpe(captions, merges)
    save_clip_format(out_dir, vocab, learned, max_length)
    print(f"{out_dir}: {len(vocab)} tokens, {len(learned)} merges")


call = partial(command, main)
