"""Generates videos: `python -m sample.video "a red circle moving left" --out out.mp4`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("sample", prog="python -m sample.video")
