"""Makes a dataset of clips: `python -m train.ingest SOURCE OUT`; run it again to resume."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("ingest", prog="python -m train.ingest")
