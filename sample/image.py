"""Generates images: `python -m sample.image "a red circle" --model DIR --out out.png`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("image", prog="python -m sample.image")
