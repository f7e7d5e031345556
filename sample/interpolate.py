"""Interpolates one's own video: `python -m sample.interpolate IN.mp4 --model DIR --times 3`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("interpolate", prog="python -m sample.interpolate")
