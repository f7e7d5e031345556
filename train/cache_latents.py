"""Encodes clips once: `python -m train.cache_latents DATASET MODEL_DIR OUT`; again to go on."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("cache-latents", prog="python -m train.cache_latents")
