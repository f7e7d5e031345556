"""Writes TorchScript files with given weights."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn


class Holder(nn.Module):
    """A module that only holds tensors."""

    def forward(self) -> int:
        return 0


def save_torchscript(state: Mapping[str, torch.Tensor], path: Path) -> Path:
    """Writes a module with this state dict."""
    root = Holder()
    for name, tensor in state.items():
        *parts, last = name.split(".")
        module = root
        for part in parts:
            if not hasattr(module, part):
                module.add_module(part, Holder())
            module = getattr(module, part)
        module.register_buffer(last, tensor)
    with warnings.catch_warnings():  # torch advises to use other formats
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(root), path)
    return path
