"""Shows what is in a dataset: `python -m train.inspect DATASET`.

A folder without `__init__.py`, because a file `train/inspect.py` would take the place of Python's
own `inspect` for scripts that are started from this folder.
"""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("inspect", prog="python -m train.inspect")
