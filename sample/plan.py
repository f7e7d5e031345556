"""Plans memory without sampling: `python -m sample.plan paper --topology v5e:2x2`."""

from videogen_jax.cli import call

if __name__ == "__main__":
    call("plan-video", prog="python -m sample.plan")
