"""Converts Stable Diffusion: `python -m convert.stable_diffusion SOURCE MODEL_DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("convert stable-diffusion", prog="python -m convert.stable_diffusion")
