"""PyTorch's counterparts: attention, convolution, diffusers' UNet and decoder.

`jax.block_until_ready` waits for the results of calls, so JAX and PyTorch are timed alike.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from videogen_jax.config import ModelConfig


def missing() -> str:
    """Returns why PyTorch cannot be compared; empty if it can."""
    if not _installed("torch"):
        return "torch is not installed"
    import jax
    import torch

    if jax.default_backend() == "gpu" and not torch.cuda.is_available():
        return "torch sees no GPU"
    return ""


def diffusers_missing() -> str:
    """Returns why diffusers cannot be compared; empty if it can."""
    return missing() or ("" if _installed("diffusers") else "diffusers is not installed")


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class _Queued:
    """Work queued by a call: `jax.block_until_ready` waits for it as for a JAX array."""

    def block_until_ready(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def _queue(launch: Callable[[], Any]) -> Callable[[], _Queued]:
    """Returns `launch` as a call that can be timed."""
    import torch

    def call() -> _Queued:
        with torch.inference_mode():
            launch()
        return _Queued()

    return call


def _result(launch: Callable[[], Any]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return launch().float().cpu().numpy()


def attention(
    q_BTND: np.ndarray, k_BSND: np.ndarray, v_BSND: np.ndarray
) -> tuple[Callable[[], Any], np.ndarray]:
    """Returns `scaled_dot_product_attention` in bfloat16 as a call, and its result in float32."""
    import torch

    q, k, v = (
        torch.from_numpy(x).to(_device(), torch.bfloat16).transpose(1, 2).contiguous()
        for x in (q_BTND, k_BSND, v_BSND)
    )
    launch = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return _queue(launch), _result(launch).transpose(0, 2, 1, 3)


def convolution(
    x_NHWC: np.ndarray, kernel_HWIO: np.ndarray
) -> tuple[Callable[[], Any], np.ndarray]:
    """Returns `conv2d` in bfloat16, channels last in memory, as a call, and its result."""
    import torch

    x = torch.from_numpy(x_NHWC).to(_device(), torch.bfloat16).permute(0, 3, 1, 2)
    kernel = torch.from_numpy(kernel_HWIO).to(_device(), torch.bfloat16).permute(3, 2, 0, 1)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    launch = lambda: torch.nn.functional.conv2d(x, kernel, padding=1)
    return _queue(launch), _result(launch).transpose(0, 2, 3, 1)


class Diffusers:
    """diffusers' UNet and autoencoder of a model's sizes, in bfloat16 with random weights.

    Args:
        model: the model whose image model and autoencoder are built.
        compile: whether `torch.compile` compiles the UNet. Memory is channels last in any case.
    """

    def __init__(self, model: ModelConfig, compile: bool = False):
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel

        from videogen_jax.conversion.to_diffusers import autoencoder_fields, unet_fields

        self._model = model
        unet: Any = UNet2DConditionModel.from_config(unet_fields(model, model.image))
        fields = autoencoder_fields(model.autoencoder, model.image.resolution)
        vae: Any = AutoencoderKL.from_config(fields)
        self._unet, self._vae = (
            network.eval().to(_device(), torch.bfloat16, memory_format=torch.channels_last)
            for network in (unet, vae)
        )
        if compile:
            self._unet = torch.compile(self._unet)

    def unet(self, batch: int) -> Callable[[], Any]:
        """Returns a call of the UNet for a number of images."""
        import torch

        model, options = self._model, {"device": _device(), "dtype": torch.bfloat16}
        size = model.latent_size(model.image.resolution)
        x = torch.randn(batch, model.image.unet.in_channels, size, size, **options)
        x = x.contiguous(memory_format=torch.channels_last)
        text = torch.randn(
            batch, model.text_encoder.max_length, model.text_encoder.hidden_size, **options
        )
        timesteps = torch.linspace(50, 950, batch, device=_device())
        return _queue(lambda: self._unet(x, timesteps, encoder_hidden_states=text).sample)

    def decode(self, batch: int) -> Callable[[], Any]:
        """Returns a call of the decoder for a number of latents."""
        import torch

        size = self._model.latent_size(self._model.image.resolution)
        channels = self._model.autoencoder.latent_channels
        z = torch.randn(batch, channels, size, size, device=_device(), dtype=torch.bfloat16)
        return _queue(lambda: self._vae.decode(z).sample)

    @staticmethod
    def memory_peak() -> float | None:
        """Returns the peak GPU memory of PyTorch in bytes; None on a CPU."""
        import torch

        return float(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None
