"""Builds the tokenizer of the shapes model: `python -m train.tokenizer OUT_DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("tokenizer", prog="python -m train.tokenizer")
