"""Restores one's own video: `python -m sample.restore IN.mp4 --model DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("restore", prog="python -m sample.restore")
