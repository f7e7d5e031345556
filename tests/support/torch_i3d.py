"""I3D in PyTorch, written from the paper and the public code, as the reference of its tests.

Module names are those of piergiaj/pytorch-i3d.
"""

import torch
from torch import nn

from videogen_jax.models.features.i3d import I3DConfig


def same_padding(x: torch.Tensor, kernel: tuple, stride: tuple, value: float) -> torch.Tensor:
    """Pads as TensorFlow does: so that the result has ceil(size / stride) positions."""
    sides = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        sides.append((total // 2, total - total // 2))
    return nn.functional.pad(x, [n for side in reversed(sides) for n in side], value=value)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, last: bool = False):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        if not last:
            self.bn = nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv3d(same_padding(x, self.conv3d.kernel_size, self.conv3d.stride, 0.0))
        return self.bn(x).relu() if hasattr(self, "bn") else x


class Pool(nn.Module):
    def __init__(self, kernel: tuple, stride: tuple):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = same_padding(x, self.kernel, self.stride, -torch.inf)
        return nn.functional.max_pool3d(padded, self.kernel, self.stride)


class Block(nn.Module):
    def __init__(self, inputs: int, channels: tuple):
        super().__init__()
        c0, c1a, c1b, c2a, c2b, c3 = channels
        self.b0 = Unit(inputs, c0, 1)
        self.b1a, self.b1b = Unit(inputs, c1a, 1), Unit(c1a, c1b, 3)
        self.b2a, self.b2b = Unit(inputs, c2a, 1), Unit(c2a, c2b, 3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), Unit(inputs, c3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """Maps `b c f h w` in [-1, 1] to logits averaged over time `b k`."""

    def __init__(self, config: I3DConfig):
        super().__init__()
        a, b, c = config.stem
        self.Conv3d_1a_7x7 = Unit(3, a, 7, 2)
        self.MaxPool3d_2a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(a, b, 1)
        self.Conv3d_2c_3x3 = Unit(b, c, 3)
        self.MaxPool3d_3a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        pools = {4: Pool((3, 3, 3), (2, 2, 2)), 5: Pool((2, 2, 2), (2, 2, 2))}
        width = c
        for number, level in enumerate(config.levels, start=3):
            if number in pools:
                self.add_module(f"MaxPool3d_{number}a", pools[number])
            for letter, channels in zip("bcdef", level, strict=False):
                self.add_module(f"Mixed_{number}{letter}", Block(width, channels))
                width = channels[0] + channels[2] + channels[4] + channels[5]
        self.logits = Unit(width, config.num_classes, 1, last=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, module in self.named_children():
            if name != "logits":
                x = module(x)
        x = nn.functional.avg_pool3d(x, (2, *x.shape[3:]), stride=1)
        return self.logits(x)[..., 0, 0].mean(2)


def random_i3d(config: I3DConfig, seed: int = 0) -> I3D:
    """Returns a network for inference with random weights, norms and statistics."""
    torch.manual_seed(seed)
    network = I3D(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.01, 1)  # small ones show the epsilon
    return network
