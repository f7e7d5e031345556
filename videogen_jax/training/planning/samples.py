"""Memory of what a run does between steps, compiled for devices that are not present.

These are the drawing of samples, and validation.
"""

import dataclasses
import time
from typing import Any

import jax
from jax.sharding import Mesh

from videogen_jax import layout, sharding
from videogen_jax.training.optim import make_optimizer
from videogen_jax.training.planning.plan import (
    bytes_per_device,
    compile_for,
    fits,
    placed_batch,
)
from videogen_jax.training.planning.topology import Topology, absent_devices
from videogen_jax.training.runs.build import abstract_task
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.validation import batch_size
from videogen_jax.training.step import state_shapes
from videogen_jax.training.validation import extra_shapes, group_of, jit_program


@dataclasses.dataclass(frozen=True)
class SamplesPlan:
    """The compiler's figures of drawing samples, or of validation.

    Bytes are those of one device; nothing has run.
    """

    topology: Topology
    examples: int  # that all devices together process at a time
    waiting: float  # bytes of the run's state, frozen networks and batch besides the program's
    program: float  # bytes that it needs; NaN if it is rejected without a number
    accepted: bool  # whether the compiler accepts the program
    seconds: float  # of compiling

    @property
    def total(self) -> float:
        """Bytes that a device needs; NaN if the compiler does not report them."""
        return self.waiting + self.program

    @property
    def fits(self) -> bool:
        """True if the total is within the device's memory, or if that memory is not known."""
        return self.accepted and fits(self.topology, self.total)


def plan_samples(config: RunConfig, topology: Topology) -> SamplesPlan | None:
    """Compiles the drawing of a run's samples for the devices of `topology`.

    Returns None if the run draws none.

    Raises:
        UserError: as `plan.plan_step`.
    """
    task = abstract_task(config)
    if task.drawing is None or not config.loop.sample_every:
        return None
    mesh = sharding.make_mesh(config.mesh, absent_devices(topology))
    optimizer = make_optimizer(config.optim, config.steps)
    with layout.activate(mesh):
        state = state_shapes(task, optimizer, mesh, config.mesh)
        examples = task.drawing.at_once()
        traced = task.drawing.trace(state.ema, _pixels(config, examples, mesh), mesh)
        waiting = (state._replace(ema={}), _placed(task.frozen, mesh), placed_batch(config, mesh))
        return _compiled(topology, traced, examples, waiting)


def plan_validation(config: RunConfig, topology: Topology) -> SamplesPlan | None:
    """Compiles the validation of a run for the devices of `topology`.

    Returns None if the run does not validate.

    Raises:
        UserError: as `plan.plan_step`.
    """
    if not config.loop.validate_every:
        return None
    task = abstract_task(config)
    mesh = sharding.make_mesh(config.mesh, absent_devices(topology))
    optimizer = make_optimizer(config.optim, config.steps)
    with layout.activate(mesh):
        state = state_shapes(task, optimizer, mesh, config.mesh)
        examples = batch_size(config, task, mesh)
        batch = _placed_examples(extra_shapes(examples), mesh) | _pixels(config, examples, mesh)
        group = group_of(task, config.validation.examples)
        program = jit_program(task, group, config.validation.seed, mesh)
        frozen = _placed({**task.frozen, **task.pixel_networks}, mesh)
        traced = program.trace(state.ema, frozen, batch)
        waiting = (state._replace(ema={}), placed_batch(config, mesh))
        return _compiled(topology, traced, examples, waiting)


def _pixels(config: RunConfig, examples: int, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns a batch as of a run that reads no latent cache."""
    data = dataclasses.replace(config.data, latent_cache="")
    micro = dataclasses.replace(config, data=data, batch_size=examples, accumulate=1)
    return placed_batch(micro, mesh)


def _placed_examples(
    batch: dict[str, jax.ShapeDtypeStruct], mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    return sharding.with_shardings(batch, dict.fromkeys(batch, sharding.batch_sharding(mesh)))


def _placed(frozen: Any, mesh: Mesh) -> Any:
    return sharding.with_shardings(frozen, sharding.tree_shardings(mesh, frozen))


def _compiled(topology: Topology, traced: Any, examples: int, waiting: Any) -> SamplesPlan:
    started = time.perf_counter()
    compiled, needed = compile_for(topology, traced)
    return SamplesPlan(
        topology=topology,
        examples=examples,
        waiting=bytes_per_device(waiting),
        program=needed,
        accepted=compiled is not None,
        seconds=time.perf_counter() - started,
    )
