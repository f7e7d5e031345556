"""Memory, operations and least time of a call of `VideoGen`, compiled for absent devices.

Nothing is computed. Parameters and prompts are shapes, so no weights are needed.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax

from videogen_jax import layout, sharding
from videogen_jax.config import ModelConfig
from videogen_jax.errors import UserError
from videogen_jax.models.components import component_shapes
from videogen_jax.models.parameters import count
from videogen_jax.pipeline.placement import as_dtype, parameter_shardings
from videogen_jax.pipeline.programs import CallPrograms, Program
from videogen_jax.pipeline.requests.video import Request
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.planning.plan import bytes_per_device, compile_for, fits
from videogen_jax.training.planning.topology import Topology, absent_devices
from videogen_jax.training.telemetry.flops import FlopCount, count_flops

# By the dimensions of a topology: slices of TPU chips, from one chip or one host on, and GPUs.
_SHAPES: Mapping[int, tuple[tuple[int, ...], ...]] = {
    1: ((1,), (2,), (4,), (8,), (16,), (32,), (64,), (128,)),
    2: ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)),
    3: ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4), (4, 4, 8), (4, 8, 8), (8, 8, 8)),
}


@dataclasses.dataclass(frozen=True)
class ProgramPlan:
    """The compiler's figures of a program of a call. Bytes are those of one device."""

    topology: Topology
    name: str
    component: str
    runs: int  # in a call
    program: float  # bytes with its component's parameters; NaN if rejected without a number
    beside: float  # bytes of other components that are on the device at the same time
    accepted: bool  # whether the compiler accepts it
    flops: FlopCount  # of one run, over all devices
    accessed: float | None  # bytes read and written in one run, by XLA's estimate
    seconds: float  # of compiling

    @property
    def total(self) -> float:
        """Bytes that a device needs while the program runs."""
        return self.program + self.beside

    @property
    def fits(self) -> bool:
        """True if the total is within the device's memory, or if that memory is not known."""
        return self.accepted and fits(self.topology, self.total)

    @property
    def least_seconds(self) -> float:
        """Seconds that its runs take at the manufacturer's figures; 0 if these are not known."""
        chip, rates = self.topology.chip, [0.0]
        if chip.peak:
            rates.append(self.flops.total / self.topology.size / chip.peak)
        if chip.hbm_bandwidth and self.accessed:
            rates.append(self.accessed / chip.hbm_bandwidth)
        return self.runs * max(rates)


@dataclasses.dataclass(frozen=True)
class VideoPlan:
    """The figures of a call: of its components' parameters on a device, and of its programs."""

    topology: Topology
    mesh: Mapping[str, int]
    parameters: Mapping[str, float]
    programs: tuple[ProgramPlan, ...]

    @property
    def total(self) -> float:
        """The largest number of bytes that a device needs at one time."""
        return max(program.total for program in self.programs)

    @property
    def fits(self) -> bool:
        return all(program.fits for program in self.programs)


def plan_video(
    config: ModelConfig,
    request: Request,
    topology: Topology,
    mesh_config: MeshConfig,
    *,
    dtype: Any = "float32",
    offload: bool = False,
    own_reference: bool = False,
    only: Collection[str] = (),
    report: Callable[[ProgramPlan], object] = lambda plan: None,
) -> VideoPlan:
    """Compiles the programs of a call for the devices of `topology`.

    Args:
        config: the model's configuration.
        request: the call.
        topology: the devices.
        mesh_config: their numbers per mesh axis.
        dtype: type of parameters and computation.
        offload: whether components take turns on the devices.
        own_reference: whether the reference is the user's, so that the image model does not run.
        only: components whose programs are compiled; by default of all.
        report: called with the figures of each program.

    Raises:
        UserError: the mesh does not fit the devices or the frames, the compiler of the devices is
            not available, or `only` names no component of the call.
    """
    mesh = sharding.make_mesh(mesh_config, absent_devices(topology))
    sharding.check_frames(mesh, request.num_frames)
    generates = request.options.use_reference and not own_reference
    turns = request.turns(generates)
    names = sorted({name for turn in turns for name in turn})
    if unknown := sorted(set(only) - set(names)):
        raise UserError(
            f"the call has no {', '.join(unknown)}, expected some of {', '.join(names)}"
        )
    full = component_shapes(config, *names)
    shapes = jax.eval_shape(lambda tree: as_dtype(tree, dtype), full)
    params = sharding.with_shardings(shapes, parameter_shardings(mesh, shapes))
    sizes = {name: bytes_per_device(tree) for name, tree in params.items()}
    plans = []
    with layout.activate(mesh):
        for program in CallPrograms(config, request, params, mesh, dtype)(generates):
            if not only or program.component in only:
                present = _present(turns, program.turn) if offload else set(names)
                beside = sum(sizes[name] for name in present - {program.component})
                plans.append(_plan(topology, program, beside))
                report(plans[-1])
    return VideoPlan(topology, dict(mesh.shape), sizes, tuple(plans))


def least_bytes(
    config: ModelConfig, request: Request, *, dtype: Any, offload: bool, own_reference: bool
) -> float:
    """Returns the bytes of the parameters that one device alone would have at the same time."""
    turns = request.turns(request.options.use_reference and not own_reference)
    shapes = component_shapes(config, *{name for turn in turns for name in turn})
    width = jax.numpy.dtype(dtype).itemsize
    sizes = {name: width * count(tree) for name, tree in shapes.items()}
    if not offload:
        return float(sum(sizes.values()))
    present = (_present(turns, turn) for turn in range(len(turns)))
    return float(max(sum(sizes[name] for name in names) for names in present))


def smallest_mesh(
    topology: Topology, parameters: float, plan: Callable[[Topology], VideoPlan]
) -> tuple[Topology | None, list[VideoPlan]]:
    """Finds the fewest chips, up to those of `topology`, over which a call fits.

    Args:
        topology: the largest number of chips.
        parameters: as `least_bytes`; fewer chips than these need are not tried.
        plan: compiles the call for a topology, with parameters and prompts over all its devices.

    Returns:
        The topology, or None if not even the largest fits; and the plans of those tried.

    Raises:
        UserError: the memory of the devices is not known.
    """
    limit = topology.chip.hbm_bytes
    if limit is None:
        raise UserError(f"--find-mesh: the memory of {topology.name} is not known")
    tried = []
    for smaller in shapes_up_to(topology):
        if parameters / smaller.size > limit:
            continue
        tried.append(plan(smaller))
        if tried[-1].fits:
            return smaller, tried
    return None, tried


def shapes_up_to(topology: Topology) -> Iterator[Topology]:
    """Yields compact topologies of rising size, up to `topology`."""
    for shape in _SHAPES[len(topology.shape)]:
        if math.prod(shape) < topology.size:
            yield Topology(topology.name, shape)
    yield topology


def _present(turns: list[tuple[str, ...]], turn: int) -> set[str]:
    """Returns the components that are on the devices in a turn: its own and the next one's."""
    return {name for names in turns[turn : turn + 2] for name in names}


def _plan(topology: Topology, program: Program, beside: float) -> ProgramPlan:
    started = time.perf_counter()
    compiled, size = compile_for(topology, program.traced)
    costs = {} if compiled is None else compiled.cost_analysis() or {}
    return ProgramPlan(
        topology=topology,
        name=program.name,
        component=program.component,
        runs=program.runs,
        program=size,
        beside=beside,
        accepted=compiled is not None,
        flops=count_flops(program.traced.jaxpr.jaxpr),
        accessed=costs.get("bytes accessed"),
        seconds=time.perf_counter() - started,
    )
