"""Plans memory without running a step: `python -m train.plan PRESET --topology v5p:4x4x4`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("plan", prog="python -m train.plan")
