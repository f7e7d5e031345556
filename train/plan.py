"""Will it fit? `python -m train.plan PRESET --topology v5p:4x4x4`: compiles the step, runs nothing.

Readies this process alone by environment variables, which libtpu has no other way for.
"""

from typing import Annotated, Any

import tyro

from videogen_jax.training.door import call_with_preset
from videogen_jax.training.plan import find_batch, plan_step
from videogen_jax.training.plan_report import brief, describe, found, ticking
from videogen_jax.training.runs import RUNS
from videogen_jax.training.topology import parse_topology, prepare


def main(
    config: Annotated[Any, tyro.conf.arg(name="")],
    topology: str,
    search: Annotated[bool, tyro.conf.arg(name="find-batch")] = False,
    max_compilations: int = 6,
) -> None:
    """Says what a training step needs on devices that are not there.

    Args:
        config: the preset and what is changed of it, as for the training scripts.
        topology: v4:2x2x1, v5e:4x4, v5p:4x4x4, v6e:4x4, h100:8 or cpu:8.
        search: look for the largest batch that fits.
        max_compilations: of the search.
    """
    wanted = parse_topology(topology)
    prepare(wanted)
    with ticking(f"compiling for {wanted}"):
        if not search:
            print(describe(plan_step(config, wanted)))
            return
        report = lambda plan: print(brief(plan), flush=True)
        best = find_batch(config, wanted, max_compilations=max_compilations, report=report)
    print(found(*best))
    if best[0] is not None:
        print(describe(best[0]))


if __name__ == "__main__":
    call_with_preset(main, RUNS, "python -m train.plan", "Will a step of training fit?")
