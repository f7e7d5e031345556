"""Shows what the video decoder learns to take back: `python -m train.degradations DATASET OUT.png`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("degradations", prog="python -m train.degradations")
