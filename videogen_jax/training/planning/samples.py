"""Memory of drawing a run's samples, compiled for devices that are not present."""

import dataclasses
import time

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
from videogen_jax.training.step import state_shapes


@dataclasses.dataclass(frozen=True)
class SamplesPlan:
    """The compiler's figures of drawing samples. Bytes are those of one device; nothing has run."""

    topology: Topology
    examples: int  # that all devices together draw at a time
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
        frozen = sharding.with_shardings(task.frozen, sharding.tree_shardings(mesh, task.frozen))
        # Examples of samples always have pixels.
        pixels = dataclasses.replace(config.data, latent_cache="")
        examples = task.drawing.at_once()
        drawn = dataclasses.replace(config, data=pixels, batch_size=examples)
        traced = task.drawing.trace(state.ema, placed_batch(drawn, mesh), mesh)
        waiting = (state._replace(ema={}), frozen, placed_batch(config, mesh))
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
