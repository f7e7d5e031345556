"""Trains the decoder: `python -m train.video_decoder PRESET --run-dir DIR --model-dir DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("train video-decoder", prog="python -m train.video_decoder")
