"""Makes and tallies a user study: `python -m sample.compare A B --out page`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("compare", prog="python -m sample.compare")
