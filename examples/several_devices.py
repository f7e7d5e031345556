"""Samples on several devices, which share the prompts of a call.

    python examples/several_devices.py --cpu-devices 4

With --cpu-devices, JAX splits the CPU into that many devices, to try this without GPUs or TPUs.
Without it, all devices of the machine are used. A video does not depend on the number of devices.
"""

from pathlib import Path

import jax
import tyro

from videogen_jax import VideoGen
from videogen_jax.sharding import MeshConfig, make_mesh


def main(
    model: str = "shapes",
    out: Path = Path("outputs/devices"),
    steps: int | None = None,
    cpu_devices: int = 0,
) -> None:
    """Samples one prompt per device.

    Args:
        model: name of a shipped model, or a model directory.
        out: folder for 0.mp4, 1.mp4, ...
        steps: steps of every sampler, by default the model's.
        cpu_devices: virtual devices of the CPU; 0 takes the devices that there are.
    """
    if cpu_devices:  # before anything asks JAX for its devices
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    devices = jax.devices()
    # data: prompts are shared. MeshConfig(data=1, frames=-1) shares the frames of each clip.
    mesh = make_mesh(MeshConfig(data=len(devices)), devices)
    loaded = VideoGen.load(model, mesh=mesh)
    print(loaded)
    colours = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
    prompts = [f"a {colours[i % 8]} circle moving left" for i in range(len(devices))]
    for number, video in enumerate(loaded(prompts, steps=steps)):
        print(video.save(out / f"{number}.mp4"), video)


if __name__ == "__main__":
    tyro.cli(main)
