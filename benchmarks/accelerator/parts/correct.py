"""Compares networks, gradients and the shipped model's video with the CPU of the machine."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerator import networks, reference_video
from benchmarks.accelerator.measure import Difference, difference, random_like
from benchmarks.accelerator.results import Report
from videogen_jax.config import ModelConfig
from videogen_jax.configs import RUNS
from videogen_jax.configs.paper import PAPER
from videogen_jax.configs.tiny import TINY
from videogen_jax.models.components import component_shapes
from videogen_jax.training.runs.build import abstract_task, batch_shapes

# Dtype, precision and the largest relative difference that is accepted. Bfloat16 has 8 bits, and
# errors add up over a network's depth.
VARIANTS = (("float32", "highest", 1e-4), ("bfloat16", "default", 1e-1))
GRADIENTS = ("stage-2", "flow", "video-decoder")  # of `tiny`
_GRADIENT_LIMIT, _PSNR_LIMIT = 1e-3, 35.0


def run(report: Report) -> None:
    """Adds the tables `video`, `gradients` and `networks`, the most telling comparisons first."""
    names, gradients, large, call = networks.names(TINY), GRADIENTS, stable_diffusion(), "full"
    if report.dry_run:
        names, gradients, large, call = ("text_encoder", "flow"), ("flow",), {}, "quick"
    report.attempt("video", check_video, report, call, needs=30)
    for part in gradients:
        report.attempt(f"gradients of {part}", check_gradients, report, f"tiny-{part}", needs=15)
    for name, make in large.items():
        report.attempt(name, check_network, report, name, PAPER, make, needs=20)
    for name in names:
        make = functools.partial(networks.named, name, TINY)
        report.attempt(name, check_network, report, f"tiny {name}", TINY, make)


def stable_diffusion() -> dict[str, Callable[[Any], networks.Network]]:
    """Returns networks of Stable Diffusion 1.5's sizes, with few pixels for the sake of the CPU."""
    return {
        "SD text encoder": lambda dtype: networks.text_encoder(PAPER, dtype),
        "SD UNet": lambda dtype: networks.unet("image_unet", PAPER, PAPER.image, dtype, size=32),
        "SD decoder": lambda dtype: networks.autoencoder(PAPER, dtype, "decode", size=32),
        "stage 1 UNet": lambda dtype: networks.unet("stage_1", PAPER, PAPER.stages[0], dtype),
    }


def check_network(
    report: Report,
    name: str,
    model: ModelConfig,
    make: Callable[[Any], networks.Network],
) -> None:
    """Adds rows to `networks`: the difference of each variant from float32 on the CPU."""
    network = make(jnp.float32)
    params = random_like(component_shapes(model, network.component)[network.component])
    expected = on(jax.devices("cpu")[0], "highest", network.apply, params, *network.inputs)
    for dtype, precision, limit in VARIANTS:
        network = make(jnp.dtype(dtype))
        found = on(jax.devices()[0], precision, network.apply, params, *network.inputs)
        gap = difference(found, expected)
        report.add("networks", network=name, dtype=dtype, precision=precision, **gap._asdict())
        judge(report, f"{name} in {dtype}, {precision}", gap, limit)


def on(device: Any, precision: str, function: Callable[..., Any], *args: Any) -> Any:
    """Returns `function(*args)` computed on one device and copied to the host."""
    args = jax.device_put(args, device)
    with jax.default_device(device), jax.default_matmul_precision(precision):
        return jax.device_get(jax.jit(function)(*args))


def judge(report: Report, what: str, gap: Difference, limit: float) -> None:
    if not gap.finite:
        report.fail(what, "values that are not finite")
    elif gap.relative > limit:
        report.fail(what, f"relative difference {gap.relative:.2g}, expected at most {limit:g}")


def check_gradients(report: Report, preset: str) -> None:
    """Adds a row to `gradients`: loss and gradient of a run of `tiny` for one random batch."""
    config = RUNS[preset]
    task = abstract_task(config)
    params = random_like(jax.eval_shape(task.init, jax.random.key(0)))
    frozen, batch = random_like(task.frozen), random_like(batch_shapes(config))
    keys = jax.random.key_data(jax.random.split(jax.random.key(1), config.batch_size))

    def gradient(params: Any, frozen: Any, batch: Any, keys: Any) -> Any:
        loss = lambda params: task.loss(params, frozen, batch, jax.random.wrap_key_data(keys))[0]
        return jax.value_and_grad(loss)(params)

    args = params, frozen, batch, np.asarray(keys)
    (loss, found), (cpu_loss, expected) = (
        on(device, "highest", gradient, *args)
        for device in (jax.devices()[0], jax.devices("cpu")[0])
    )
    gap = difference(found, expected)
    losses = {"loss": float(loss), "cpu_loss": float(cpu_loss)}
    report.add("gradients", run=preset, **losses, **gap._asdict())
    judge(report, f"gradients of {preset}", gap, _GRADIENT_LIMIT)


def check_video(report: Report, call: str) -> None:
    """Saves the shipped model's video and adds a row to `video`: its PSNR to the CPU's frames."""
    video = reference_video.make(call)
    reference_video.save_strip(report.out / "video.png", video.frames)
    expected = reference_video.read_strip(reference_video.FOLDER / f"{call}.png")
    psnr_F = reference_video.frame_psnr(video.frames, expected)
    mean, worst = float(psnr_F.mean()), float(psnr_F.min())
    report.add("video", call=call, frames=len(psnr_F), mean_psnr_db=mean, worst_frame_db=worst)
    if worst < _PSNR_LIMIT:
        why = f"{worst:.1f} dB from the CPU's, expected at least {_PSNR_LIMIT:g}"
        report.fail("the shipped model's video", f"its worst frame is {why}")
