"""Memory, operations and traffic of a run's train step, compiled for devices that are not present.

Nothing is computed. Parameters, frozen networks and batch are shapes, so weights, data and a model
directory are not needed.
"""

import dataclasses
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from videogen_jax import layout, sharding
from videogen_jax.errors import UserError
from videogen_jax.kernels import choices
from videogen_jax.training.optim import make_optimizer
from videogen_jax.training.planning import hlo
from videogen_jax.training.planning.batch_search import search_batch
from videogen_jax.training.planning.topology import Topology, absent_devices
from videogen_jax.training.runs.build import abstract_task, batch_shapes
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.train import check_frames, check_micro_batch, step_options
from videogen_jax.training.step import jit_step, state_shapes
from videogen_jax.training.telemetry.flops import FlopCount, count_flops
from videogen_jax.training.telemetry.throughput import count_frames

_OUT_OF_MEMORY = re.compile(r"\(?([\d.]+)([KMGT]?)\)? exceeds available HBM \(([\d.]+)([KMGT]?)\)")
_UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}


@dataclasses.dataclass(frozen=True)
class StepPlan:
    """The compiler's figures of a step. Bytes are those of one device; nothing has run.

    If the compiler rejects the step for lack of memory, there is no compiled program: `peak` is
    None, and only `needed` and the figures of arguments and operations are set.
    """

    topology: Topology
    mesh: Mapping[str, int]
    batch_size: int
    frames: int  # of all clips of a batch
    arguments: Mapping[str, float]  # bytes of parameters, average, optimizer, frozen, batch
    flops: FlopCount  # over all devices
    seconds: float  # of compiling
    peak: float | None = None  # bytes of arguments, results and temporaries at the same time
    needed: float | None = None  # bytes, if the compiler rejects the step
    traffic: Mapping[str, hlo.Traffic] = dataclasses.field(default_factory=dict)
    attention: tuple[str, ...] = ()  # the kernels and what they compute, a line each
    unread: str = ""  # why the compiled program, and so its traffic, could not be read
    accessed: float | None = None  # bytes read and written by XLA's estimate, loops counted once

    @property
    def fits(self) -> bool:
        """True if the peak is within the device's memory, or if that memory is not known."""
        return self.peak is not None and fits(self.topology, self.peak)

    @property
    def total(self) -> float:
        """Bytes that a device needs; NaN if the compiler does not report them."""
        return self.peak if self.peak is not None else self.needed or math.nan


def plan_step(config: RunConfig, topology: Topology) -> StepPlan:
    """Compiles the training step of a run for the devices of `topology`.

    Raises:
        UserError: the mesh does not divide devices, batch, frames or parameters, or the compiler of
            the devices is not available.
    """
    mesh = sharding.make_mesh(config.mesh, absent_devices(topology))
    check_frames(config, mesh)
    sharding.batch_positions(mesh, config.batch_size)  # which checks that the mesh divides it
    check_micro_batch(config, mesh)
    task, optimizer = abstract_task(config), make_optimizer(config.optim, config.steps)
    with layout.activate(mesh):
        state = state_shapes(task, optimizer, mesh, config.mesh)
        frozen = sharding.with_shardings(task.frozen, sharding.tree_shardings(mesh, task.frozen))
        batch = placed_batch(config, mesh)
        options, decay = step_options(config), config.loop.ema_decay
        step_fn = jit_step(task, optimizer, decay, options, mesh, state)
        key = jax.eval_shape(lambda: jax.random.key(0))
        with choices.recording() as kernels:
            traced = step_fn.trace(state, frozen, batch, _on_all(mesh, key))
        started = time.perf_counter()
        arguments = {
            "parameters": state.params,
            "average (EMA)": state.ema,
            "optimizer state": state.opt_state,
            "frozen networks": frozen,
            "batch": batch,
        }
        plan = StepPlan(
            topology=topology,
            mesh=dict(mesh.shape),
            batch_size=config.batch_size,
            frames=count_frames(batch),
            arguments={name: bytes_per_device(tree) for name, tree in arguments.items()},
            flops=count_flops(traced.jaxpr.jaxpr),
            seconds=math.nan,
            attention=tuple(choices.describe(kernels)),
        )
        compiled, size = compile_for(topology, traced)
    plan = dataclasses.replace(plan, seconds=time.perf_counter() - started)
    if compiled is None:
        return dataclasses.replace(plan, needed=size)
    return dataclasses.replace(plan, **_measures(compiled, mesh))


def compile_for(topology: Topology, traced: Any) -> tuple[Any, float]:
    """Compiles a traced program for absent devices.

    Returns:
        The compiled program, and the bytes that it needs of a device. If the compiler rejects it
        for lack of memory, None, and the bytes that it asked for; NaN if it does not report them.
    """
    try:
        compiled = traced.lower().compile(dict(topology.chip.compiler_options))
    except jax.errors.JaxRuntimeError as error:
        return None, _needed(error)
    return compiled, peak_bytes(compiled, topology.chip.platform)


def fits(topology: Topology, size: float) -> bool:
    """Whether a device has as many bytes, or its memory is not known."""
    limit = topology.chip.hbm_bytes
    return limit is None or size <= limit


def _measures(compiled: Any, mesh: Mesh) -> dict[str, Any]:
    """Returns the figures of a compiled program, by field of `StepPlan`."""
    costs = compiled.cost_analysis() or {}
    peak = peak_bytes(compiled, mesh.devices.flat[0].platform)
    measures = {"peak": peak, "accessed": costs.get("bytes accessed")}
    try:
        text = compiled.as_text()
    except jax.errors.JaxRuntimeError as error:  # libtpu may have instructions unknown to jaxlib
        return {**measures, "unread": str(error).splitlines()[0]}
    return {**measures, "traffic": hlo.collectives(text, mesh.size)}


def peak_bytes(compiled: Any, platform: str) -> float:
    """Returns a compiled program's peak bytes on a device: arguments, results and temporaries."""
    memory = compiled.memory_analysis()
    peak = memory.peak_memory_in_bytes
    if platform != "tpu":  # only on TPUs the compiler's peak includes everything
        results = memory.output_size_in_bytes - memory.alias_size_in_bytes
        peak = max(peak, memory.argument_size_in_bytes + results + memory.temp_size_in_bytes)
    return float(peak)


def find_batch(
    config: RunConfig,
    topology: Topology,
    *,
    max_compilations: int = 6,
    plan: Callable[[RunConfig, Topology], StepPlan] = plan_step,
) -> tuple[StepPlan | None, StepPlan | None]:
    """Finds the largest batch that fits, by compiling the step for several batch sizes.

    The search starts with the batch size of the run, rounded down to a multiple that mesh and
    `config.accumulate` divide. Memory grows nearly linearly with the batch, so two results, also
    rejected ones, predict the next size to try.

    Args:
        config: the run; its batch size is the first guess.
        topology: the devices.
        max_compilations: number of compilations after which the search ends.
        plan: compiles the step for one batch size.

    Returns:
        The plans of the largest batch found that fits, and of the smallest found that does not;
        None if no such batch was found.

    Raises:
        UserError: as `plan_step`; or the memory of the devices is not known.
    """
    limit = topology.chip.hbm_bytes
    if limit is None:
        raise UserError(f"--find-batch: the memory of {topology.name} is not known")
    mesh = sharding.make_mesh(config.mesh, absent_devices(topology))
    unit = sharding.batch_shares(mesh) * config.accumulate
    return search_batch(
        lambda units: plan(dataclasses.replace(config, batch_size=units * unit), topology),
        max(1, config.batch_size // unit),
        limit,
        max_tries=max_compilations,
    )


def placed_batch(config: RunConfig, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a run's batch, with the shardings that the loop puts it on."""
    batch = batch_shapes(config)
    return sharding.with_shardings(batch, dict.fromkeys(batch, sharding.batch_sharding(mesh)))


def _on_all(mesh: Mesh, shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding.replicated(mesh))


def bytes_per_device(tree: Any) -> float:
    """Returns the bytes of one device's part of a tree of shapes with shardings."""
    return float(
        sum(
            math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(tree)
        )
    )


def _needed(error: Exception) -> float:
    """Returns the bytes that an out-of-memory error reports; raises any other error again."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    found = _OUT_OF_MEMORY.search(str(error))
    return float(found[1]) * _UNITS[found[2]] if found else math.nan
