"""Converts LPIPS: `python -m convert.lpips SOURCE MODEL_DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("convert lpips", prog="python -m convert.lpips")
