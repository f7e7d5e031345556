"""The parts by name, in order of value. Each is a module here with a function `run(report)`."""

from typing import NamedTuple


class Part(NamedTuple):
    """A part's description for the driver."""

    name: str  # also the name of its module
    about: str
    weight: float  # its share of the remaining time, relative to the weights of the later parts
    memory: float  # share of the device's memory for JAX; PyTorch uses the remainder


_PARTS = (
    Part("devices", "devices, versions and the two ceilings", 0.5, 0.6),
    Part("correct", "networks, gradients and a video, compared with the CPU", 1.6, 0.6),
    Part("kernels", "attention and convolutions at Stable Diffusion's sizes", 1.2, 0.6),
    Part("unet", "Stable Diffusion 1.5's UNet and decoder, compared with diffusers", 1.5, 0.6),
    Part("training", "training steps of `paper` at the largest batch", 4.5, 0.92),
    Part("chain", "a prompt to 121 frames of 512 pixels", 3.0, 0.92),
    Part("resume", "a run that is killed and resumed", 1.0, 0.6),
)
PARTS = {part.name: part for part in _PARTS}
