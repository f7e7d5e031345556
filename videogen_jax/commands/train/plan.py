"""Plans memory without running a step: `videogen plan PRESET --topology v5p:4x4x4`.

Sets environment variables of this process: libtpu has no other interface for these settings.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any

import tyro

from videogen_jax.commands.run_flags import ConfigFile, call_with_run
from videogen_jax.configs import RUNS
from videogen_jax.training.planning.plan import StepPlan, find_batch, plan_step
from videogen_jax.training.planning.report import (
    brief,
    describe,
    describe_samples,
    describe_validation,
    found,
    ticking,
)
from videogen_jax.training.planning.samples import plan_samples, plan_validation
from videogen_jax.training.planning.topology import Topology, parse_topology, prepare
from videogen_jax.training.runs.config import RunConfig


def main(
    config: Annotated[Any, tyro.conf.arg(name="")],
    topology: str,
    search: Annotated[bool, tyro.conf.arg(name="find-batch")] = False,
    max_compilations: int = 6,
    samples: bool = True,
    config_file: ConfigFile = None,
) -> None:
    """Compiles a training step and the drawing of samples for absent devices; prints their memory.

    Also the validation, if the run validates.

    Args:
        config: the preset and the fields that override it, as for the training scripts.
        topology: v4:2x2x1, v5e:4x4, v5p:4x4x4, v6e:4x4, h100:8 or cpu:8.
        search: find the largest batch size that fits.
        max_compilations: largest number of compilations in the search.
        samples: compile the drawing of samples too, if the run draws any.
        config_file: already merged into `config`.
    """
    wanted = parse_topology(topology)
    prepare(wanted)
    if search:
        largest, refused = find_batch(config, wanted, max_compilations=max_compilations, plan=_plan)
        print(found(largest, refused))
        if largest is None:
            return
        config = dataclasses.replace(config, batch_size=largest.batch_size)
    else:
        largest = _plan(config, wanted)
    print(describe(largest), flush=True)
    if config.loop.validate_every:
        with ticking(f"compiling the validation for {wanted}"):
            validation = plan_validation(config, wanted)
        print(describe_validation(validation), flush=True)
    if samples:
        with ticking(f"compiling the samples for {wanted}"):
            plan = plan_samples(config, wanted)
        print(describe_samples(plan))


def _plan(config: RunConfig, topology: Topology) -> StepPlan:
    with ticking(f"compiling batch {config.batch_size} for {topology}"):
        plan = plan_step(config, topology)
    print(brief(plan), flush=True)
    return plan


call = partial(call_with_run, main, RUNS, description="Checks whether a training step fits.")
