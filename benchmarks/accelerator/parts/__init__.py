"""The parts by name, in order of value. Each is a file here with a function `run(report)`."""

from typing import NamedTuple


class Part(NamedTuple):
    """What the driver knows of a part."""

    name: str  # also of its file
    about: str
    weight: float  # its share of the time is this over the sum of the parts still to come
    memory: float  # share of the device's memory that JAX takes; the rest is for PyTorch


_PARTS = (
    Part("devices", "what is there and its two ceilings", 0.5, 0.6),
    Part("correct", "networks, gradients and a video against the CPU", 2.0, 0.6),
    Part("kernels", "attention and convolutions at Stable Diffusion's sizes", 1.5, 0.6),
    Part("unet", "Stable Diffusion 1.5's UNet and decoder, diffusers beside them", 1.5, 0.6),
    Part("training", "training steps of `paper` at the largest batch", 3.0, 0.92),
    Part("chain", "a prompt to 121 frames of 512 pixels", 2.5, 0.92),
    Part("resume", "a run that is killed and resumed", 1.0, 0.6),
)
PARTS = {part.name: part for part in _PARTS}
