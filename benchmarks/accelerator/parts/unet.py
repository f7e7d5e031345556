"""Times Stable Diffusion 1.5's UNet and decoder in bfloat16, alternating with diffusers."""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.accelerator import networks, torch_peers
from benchmarks.accelerator.dry_model import dry_model
from benchmarks.accelerator.measure import alternate, compiled, random_like
from benchmarks.accelerator.results import Report
from videogen_jax.config import ModelConfig
from videogen_jax.configs.paper import PAPER
from videogen_jax.models.components import component_shapes

_GIB = 2**30


def run(report: Report) -> None:
    """Adds the tables `UNet`, `decoder` and `peers' memory`."""
    model = dry_model() if report.dry_run else PAPER
    peers = report.attempt("diffusers", peer_models, report, model, needs=60) or {}
    # Only the UNet is compiled by torch.compile.
    decoders = {name: peer for name, peer in peers.items() if "compiled" not in name}
    sizes = [("UNet", batch) for batch in ((1,) if report.dry_run else (1, 8, 16))]
    sizes += [("decoder", images) for images in ((1,) if report.dry_run else (1, 16))]
    shapes = component_shapes(model, "image_unet", "autoencoder")
    params = {
        "UNet": jax.device_put(random_like(shapes["image_unet"], jnp.bfloat16)),
        "decoder": jax.device_put(random_like(shapes["autoencoder"], jnp.bfloat16)),
    }
    for table, batch in sizes:
        among = peers if table == "UNet" else decoders
        args = report, model, table, batch, params[table], among
        report.attempt(f"{table}, {batch}", measure, *args, needs=35)
    if peers:
        peak = torch_peers.Diffusers.memory_peak()
        gib = None if peak is None else peak / _GIB
        report.add("peers' memory", form=", ".join(peers), peak_gib=gib)


def peer_models(report: Report, model: ModelConfig) -> dict[str, torch_peers.Diffusers]:
    """Returns diffusers' networks: eager, and also compiled if there is time."""
    if reason := torch_peers.diffusers_missing():
        report.note(f"diffusers is not compared: {reason}")
        return {}
    peers = {"diffusers": torch_peers.Diffusers(model)}
    if not report.dry_run and report.left() > 240:
        peers["diffusers, compiled"] = torch_peers.Diffusers(model, compile=True)
    return peers


def measure(
    report: Report,
    model: ModelConfig,
    table: str,
    batch: int,
    params: Any,
    peers: dict[str, torch_peers.Diffusers],
) -> None:
    """Adds the rows of one batch: ours and those of the peers, timed alternately."""
    if table == "UNet":
        network = networks.unet("image_unet", model, model.image, jnp.bfloat16, batch=batch)
        calls = {name: peer.unet(batch) for name, peer in peers.items()}
    else:
        network = networks.autoencoder(model, jnp.bfloat16, "decode", batch=batch)
        calls = {name: peer.decode(batch) for name, peer in peers.items()}
    args = params, *jax.device_put(network.inputs)
    program = compiled(network.apply, *args)
    if not jnp.isfinite(program.run(*args)).all():
        report.fail(f"{table}, batch {batch}", "values that are not finite")
    times = alternate({"ours": lambda: program.run(*args), **calls})
    ceiling = report.ceiling("tflops")
    for form, (seconds, *each) in times.items():
        ratios = sorted(theirs / our for theirs, our in zip(each, times["ours"][1:], strict=True))
        tflops = program.flops / seconds / 1e12
        report.add(
            table,
            batch=batch,
            form=form,
            ms=seconds * 1e3,
            tflops=tflops,
            share_of_ceiling=tflops / ceiling if ceiling else None,
            times_ours=ratios[len(ratios) // 2],
            compile_seconds=program.seconds if form == "ours" else None,
            peak_gib=program.peak / _GIB if form == "ours" else None,
        )
