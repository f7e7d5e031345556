"""Shows what is in a dataset: `python -m train.inspect DATASET`.

This is a folder without `__init__.py`, because a file `train/inspect.py` would shadow Python's own
`inspect` for scripts that are started from this folder.
"""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("inspect", prog="python -m train.inspect")
