"""Converts IFRNet: `python -m convert.ifrnet SOURCE.pth MODEL_DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("convert ifrnet", prog="python -m convert.ifrnet")
