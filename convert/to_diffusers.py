"""Exports a model to diffusers: `python -m convert.to_diffusers MODEL_DIR OUT`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("convert to-diffusers", prog="python -m convert.to_diffusers")
