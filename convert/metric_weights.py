"""Converts networks of metrics: `python -m convert.metric_weights NETWORK SOURCE MODEL_DIR`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("convert metric-weights", prog="python -m convert.metric_weights")
