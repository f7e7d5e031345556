"""Card, driver and versions, and the two ceilings of the device: a bf16 product and a copy."""

import subprocess

import jax
import jax.numpy as jnp

from benchmarks.accelerator.measure import chained_seconds, median_seconds, memory_limit
from benchmarks.accelerator.results import Report
from videogen_jax.training.telemetry.code_version import code_version
from videogen_jax.training.telemetry.flops import peak_flops


def run(report: Report) -> None:
    """Adds the tables `devices`, `bf16 product` and `copy`."""
    report.attempt("devices", describe, report)
    report.attempt("bf16 product", product, report)
    report.attempt("copy", copy, report)


def describe(report: Report) -> None:
    for device in jax.devices():
        limit, peak = memory_limit(), peak_flops(device.device_kind)
        report.add(
            "devices",
            kind=device.device_kind,
            platform=device.platform,
            platform_version=" ".join(device.client.platform_version.split()),
            driver=nvidia_driver(),
            memory_gib=None if limit is None else limit / 2**30,
            data_sheet_tflops=None if peak is None else peak / 1e12,
            **code_version(),
        )
    if not report.dry_run and jax.default_backend() == "cpu":
        report.fail("devices", "JAX found no accelerator: all results are those of the CPU")


def nvidia_driver() -> str | None:
    """Returns the driver's version; None without `nvidia-smi`."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.split("\n")[0].strip()


def product(report: Report) -> None:
    """Times a chain of square products of random matrices in one program."""
    for size in (64,) if report.dry_run else (4096, 8192, 16384):
        matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16)
        matrix = matrix / jnp.asarray(size**0.5, jnp.bfloat16)
        count = 2 if report.dry_run else max(4, int(2e13 / size**3))
        seconds = chained_seconds(jnp.matmul, count, matrix, matrix)
        report.add("bf16 product", size=size, ms=seconds * 1e3, tflops=2 * size**3 / seconds / 1e12)


def copy(report: Report) -> None:
    """Times an addition over a large array, which reads and writes each byte once."""
    for mib in (1,) if report.dry_run else (256, 1024, 4096):
        array = jnp.zeros(mib * 2**18, jnp.float32)
        add_one = jax.jit(lambda x: x + 1)
        seconds = median_seconds(lambda array=array, add_one=add_one: add_one(array))
        moved = 2 * array.nbytes / seconds
        report.add("copy", mib=mib, ms=seconds * 1e3, bytes_per_second=moved)
