"""Opens a page in the browser: `python -m sample.app --model shapes`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("app", prog="python -m sample.app")
