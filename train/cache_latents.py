"""Encodes clips: `python -m train.cache_latents DATASET MODEL_DIR OUT`; run it again to resume."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("cache-latents", prog="python -m train.cache_latents")
