"""Generates a video of several clips: `python -m sample.long "a red circle" --clips 10`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("long", prog="python -m sample.long")
