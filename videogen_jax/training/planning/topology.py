"""Absent devices to compile for: TPU slices with libtpu, NVIDIA GPUs with the CUDA plugin.

`v5p:4x4x4` is a slice of 64 chips, `h100:8` a machine with 8 GPUs, and `cpu:8` this machine as 8
devices.
"""

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
from jax.experimental import topologies

from videogen_jax.errors import UserError, missing_package
from videogen_jax.training.telemetry.flops import peak_flops

GPUS_PER_HOST = 8


@dataclasses.dataclass(frozen=True)
class Chip:
    """The manufacturer's figures of a device, in bytes and bytes per second. None is measured here.

    `link_bandwidth` is what a device can send in total to the others of its slice or machine: half
    of the figure for both directions. It is None if there is no figure.
    """

    platform: Literal["tpu", "cuda", "cpu"]
    kind: str  # prefix of `Device.device_kind`
    dimensions: int  # of a topology
    hbm_bytes: float | None = None
    hbm_bandwidth: float | None = None
    link_bandwidth: float | None = None
    source: str = ""
    compiler_options: Mapping[str, bool] = dataclasses.field(default_factory=dict)

    @property
    def peak(self) -> float | None:
        """Operations of dense bfloat16 products per second."""
        return peak_flops(self.kind)


_GIB = 2.0**30
# XLA finds the tiles of its own matrix products by trying them on the GPU. Without a GPU it fails
# on some products; cuBLAS computes them instead.
_WITHOUT_GPU = {"xla_gpu_enable_triton_gemm": False}
_TPU_DOCS = "cloud.google.com/tpu/docs/"
# Memory of TPUs is what libtpu 0.0.52 reports as available to a program, slightly less than in the
# documentation.
CHIPS = {
    "v4": Chip("tpu", "TPU v4", 3, 30.75 * _GIB, 1200e9, 300e9, _TPU_DOCS + "v4"),
    "v5e": Chip("tpu", "TPU v5 lite", 2, 15.75 * _GIB, 819e9, 200e9, _TPU_DOCS + "v5e"),
    "v5p": Chip("tpu", "TPU v5", 3, 95.73 * _GIB, 2765e9, 600e9, _TPU_DOCS + "v5p"),
    "v6e": Chip("tpu", "TPU v6 lite", 2, 31.24 * _GIB, 1640e9, 400e9, _TPU_DOCS + "v6e"),
    "h100": Chip(
        "cuda",
        "NVIDIA H100",
        dimensions=1,
        hbm_bytes=84978434048,
        hbm_bandwidth=3350e9,
        link_bandwidth=450e9,
        source="NVIDIA's H100 SXM sheet",
        compiler_options=_WITHOUT_GPU,
    ),
    "cpu": Chip("cpu", "cpu", 1),
}

# These keep libtpu from querying a machine without TPUs for its chips, which takes minutes, and
# from allowing only one process at a time, which is needed for real chips only.
_ABSENT_TPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
}

# GpuTargetConfigProto as text, from the data sheet; XLA would otherwise query the device for it.
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84978434048 shared_memory_per_block_optin: 232448
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclasses.dataclass(frozen=True)
class Topology:
    """The name of a chip and the number of chips in each dimension."""

    name: str
    shape: tuple[int, ...]

    @property
    def chip(self) -> Chip:
        return CHIPS[self.name]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name}:{'x'.join(map(str, self.shape))}"


def parse_topology(text: str) -> Topology:
    """Parses `CHIP:SHAPE`.

    Raises:
        UserError: the chip is unknown, or its topologies have another number of dimensions.
    """
    name, _, shape = text.partition(":")
    if name not in CHIPS:
        raise UserError(
            f"--topology {text!r}: unknown chip {name!r}, expected one of {', '.join(CHIPS)}, "
            "then ':' and their number, such as v5p:4x4x4"
        )
    dimensions = CHIPS[name].dimensions
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){%d}" % (dimensions - 1), shape):  # noqa: UP031
        example = "x".join("4" * dimensions)
        raise UserError(
            f"--topology {text!r}: expected {dimensions} number{'s' * (dimensions > 1)} for "
            f"{name}, such as {name}:{example}"
        )
    return Topology(name, tuple(int(size) for size in shape.split("x")))


def prepare(topology: Topology) -> None:
    """Prepares this process for `absent_devices`; call it before JAX looks for devices.

    It sets environment variables of libtpu for this process, and keeps JAX itself on the CPU.
    """
    jax.config.update("jax_platforms", "cpu")
    if topology.chip.platform == "cpu":
        jax.config.update("jax_num_cpu_devices", topology.size)
    os.environ.update(_ABSENT_TPU)


def absent_devices(topology: Topology) -> Sequence[Any]:
    """Returns the devices of a topology. JAX compiles for them but runs nothing on them.

    CPU devices are real.

    Raises:
        UserError: the compiler of these devices is not installed or rejects the shape, or there are
            fewer CPU devices.
    """
    match topology.chip.platform:
        case "cpu":
            devices = jax.devices("cpu")
            if len(devices) < topology.size:
                raise UserError(f"--topology {topology}: there are {len(devices)} CPU devices")
            return devices[: topology.size]
        case "tpu":
            _require("libtpu", topology)
            # Two cores of a v4 chip compute as one device, as on the machines themselves.
            options = {"chip_config_name": "megacore"} if topology.name == "v4" else {}
            return _describe(topology, str(topology), "tpu", **options)
        case "cuda":
            _require("jax_plugins.xla_cuda12", topology)
            hosts, rest = divmod(topology.size, GPUS_PER_HOST)
            if hosts and rest:
                raise UserError(
                    f"--topology {topology}: more than {GPUS_PER_HOST} GPUs must be whole machines "
                    f"of {GPUS_PER_HOST}, but {topology.size} is not a multiple of it"
                )
            shape = f"1x{hosts}x{GPUS_PER_HOST}" if hosts else f"1x1x{topology.size}"
            return _describe(topology, "", "cuda", topology=shape, target_config=_H100)


def _describe(requested: Topology, name: str, platform: str, **options: Any) -> Sequence[Any]:
    try:
        return topologies.get_topology_desc(name, platform, **options).devices
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        raise UserError(f"--topology {requested}: {error}") from error


def _require(module: str, topology: Topology) -> None:
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # its parent package is missing
        found = None
    if found is None:
        raise UserError(f"--topology {topology}: {missing_package(module.partition('.')[0])}")
