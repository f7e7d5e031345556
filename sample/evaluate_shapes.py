"""Evaluates a shapes model: `python -m sample.evaluate_shapes --model shapes --prompts 64`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("evaluate-shapes", prog="python -m sample.evaluate_shapes")
