"""Makes the README's pictures: `python -m sample.gallery --out docs/media`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("gallery", prog="python -m sample.gallery")
