"""Makes a dataset of your clips: `python -m train.ingest SOURCE OUT`; the same line again resumes."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("ingest", prog="python -m train.ingest")
