"""IFRNet and its losses in PyTorch, written from the paper, as the reference of the flow tests.

Module names are those of the public checkpoints, so the mapping of names is tested too.
"""

import re
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


def warp(x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Warps `b c h w` backward by a flow `b 2 h w` with torch's sampler."""
    height, width = x.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = torch.stack([columns, rows])[None] + flow
    span = torch.tensor([width - 1, height - 1])[None, :, None, None]
    grid = (2 * positions / span - 1).permute(0, 2, 3, 1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)


def upsample(x: torch.Tensor, factor: int) -> torch.Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def conv_prelu(channels_in: int, channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2)
    return nn.Sequential(conv, nn.PReLU(channels))


class ResBlock(nn.Module):
    def __init__(self, channels: int, side: int):
        super().__init__()
        self.side = side
        self.conv1 = conv_prelu(channels, channels)
        self.conv2 = conv_prelu(side, side)
        self.conv3 = conv_prelu(channels, channels)
        self.conv4 = conv_prelu(side, side)
        self.conv5 = nn.Conv2d(channels, channels, 3, padding=1)
        self.prelu = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(x)
        y = torch.cat([y[:, : -self.side], self.conv2(y[:, -self.side :])], 1)
        y = self.conv3(y)
        y = torch.cat([y[:, : -self.side], self.conv4(y[:, -self.side :])], 1)
        return self.prelu(x + self.conv5(y))


class Decoder(nn.Module):
    def __init__(self, channels_in: int, width: int, channels: int, side: int):
        super().__init__()
        self.convblock = nn.Sequential(
            conv_prelu(channels_in, width),
            ResBlock(width, side),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )


class Output(NamedTuple):
    """The fields of LatentFlow's FlowOutput, channels first."""

    merged: torch.Tensor
    flow_a: torch.Tensor
    flow_b: torch.Tensor
    mask: torch.Tensor
    residual: torch.Tensor
    features: tuple[torch.Tensor, ...]
    flows: tuple[tuple[torch.Tensor, torch.Tensor], ...]


class IFRNet(nn.Module):
    """Four levels; `channels` c of the encoder, finest first."""

    def __init__(self, channels: tuple[int, ...], side: int, stem_kernel: int):
        super().__init__()
        c1, c2, c3, c4 = channels
        encoder = nn.Module()
        encoder.pyramid1 = nn.Sequential(conv_prelu(3, c1, stem_kernel, 2), conv_prelu(c1, c1))
        encoder.pyramid2 = nn.Sequential(conv_prelu(c1, c2, 3, 2), conv_prelu(c2, c2))
        encoder.pyramid3 = nn.Sequential(conv_prelu(c2, c3, 3, 2), conv_prelu(c3, c3))
        encoder.pyramid4 = nn.Sequential(conv_prelu(c3, c4, 3, 2), conv_prelu(c4, c4))
        self.encoder = encoder
        self.decoder4 = Decoder(2 * c4 + 1, 2 * c4, 4 + c3, side)
        self.decoder3 = Decoder(3 * c3 + 4, 3 * c3, 4 + c2, side)
        self.decoder2 = Decoder(3 * c2 + 4, 3 * c2, 4 + c1, side)
        self.decoder1 = Decoder(3 * c1 + 4, 3 * c1, 4 + 1 + 3, side)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        levels = []
        for level in "1234":
            x = getattr(self.encoder, f"pyramid{level}")(x)
            levels.append(x)
        return levels

    def forward(self, a: torch.Tensor, b: torch.Tensor, time: torch.Tensor) -> Output:
        mean = torch.stack([a, b], 1).mean((1, 2, 3, 4))[:, None, None, None]
        features_a, features_b = self.encode(a - mean), self.encode(b - mean)
        time_map = time[:, None, None, None].expand(-1, 1, *features_a[3].shape[2:])
        out = self.decoder4.convblock(torch.cat([features_a[3], features_b[3], time_map], 1))
        flow_a, flow_b, rest = out[:, :2], out[:, 2:4], out[:, 4:]
        flows, features = [], []
        for level in (3, 2, 1):
            factor = 2**level
            flows.append((factor * upsample(flow_a, factor), factor * upsample(flow_b, factor)))
            features.append(rest)
            warped_a = warp(features_a[level - 1], flow_a)
            warped_b = warp(features_b[level - 1], flow_b)
            decoder = getattr(self, f"decoder{level}").convblock
            out = decoder(torch.cat([rest, warped_a, warped_b, flow_a, flow_b], 1))
            flow_a = 2 * upsample(flow_a, 2) + out[:, :2]
            flow_b = 2 * upsample(flow_b, 2) + out[:, 2:4]
            rest = out[:, 4:]
        mask, residual = torch.sigmoid(rest[:, :1]), rest[:, 1:]
        merged = mask * warp(a - mean, flow_a) + (1 - mask) * warp(b - mean, flow_b)
        merged = merged + mean + residual
        return Output(merged, flow_a, flow_b, mask, residual, tuple(features), tuple(flows))


NAMES = (
    (r"encoder\.pyramid(\d)\.(\d)\.0\.(weight|bias)", r"encoder/pyramid\1_\2/conv/\3"),
    (r"encoder\.pyramid(\d)\.(\d)\.1\.weight", r"encoder/pyramid\1_\2/prelu/negative_slope"),
    (r"(decoder\d)\.convblock\.0\.0\.(weight|bias)", r"\1/conv_in/conv/\2"),
    (r"(decoder\d)\.convblock\.0\.1\.weight", r"\1/conv_in/prelu/negative_slope"),
    (r"(decoder\d)\.convblock\.1\.(conv\d)\.0\.(weight|bias)", r"\1/res_block/\2/conv/\3"),
    (r"(decoder\d)\.convblock\.1\.(conv\d)\.1\.weight", r"\1/res_block/\2/prelu/negative_slope"),
    (r"(decoder\d)\.convblock\.1\.conv5\.(weight|bias)", r"\1/res_block/conv5/\2"),
    (r"(decoder\d)\.convblock\.1\.prelu\.weight", r"\1/res_block/prelu/negative_slope"),
    (r"(decoder\d)\.convblock\.2\.(weight|bias)", r"\1/conv_out/\2"),
)


def flax_path(name: str) -> str:
    """Returns a parameter's path in LatentFlow, see the docstring of `models.flow`."""
    (path,) = (
        re.sub(source, target, name) for source, target in NAMES if re.fullmatch(source, name)
    )
    return re.sub("weight$", "kernel", path)


def flax_layout(value: torch.Tensor) -> torch.Tensor:
    return value.permute(2, 3, 1, 0) if value.ndim == 4 else value


def census_distance(x: torch.Tensor, y: torch.Tensor, patch: int) -> torch.Tensor:
    """Returns the channel-wise soft census distance of `b c h w`: a mean with borders as zero."""

    def transform(z: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = z.shape
        patches = F.unfold(z, patch, padding=patch // 2)
        patches = patches.reshape(batch, channels, patch**2, height, width)
        difference = patches - z[:, :, None]
        return difference / torch.sqrt(0.81 + difference**2)

    squared = (transform(x) - transform(y)) ** 2
    distance = (squared / (0.1 + squared)).mean((1, 2))
    border = patch // 2
    inside = torch.zeros_like(distance)
    inside[:, border:-border, border:-border] = 1
    return (distance * inside).mean()


def ifrnet_loss(
    output: Output,
    target: torch.Tensor,
    target_features: tuple[torch.Tensor, ...],
    flow_a: torch.Tensor,
    flow_b: torch.Tensor,
) -> torch.Tensor:
    """Returns the total training loss with the published weights."""

    def weight(flow: torch.Tensor, target_flow: torch.Tensor) -> torch.Tensor:
        distance = torch.linalg.vector_norm(flow - target_flow, dim=1, keepdim=True)
        return torch.exp(-0.3 * distance).detach()

    def robust(difference: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        epsilon = 10 ** (-(10 * weight - 1) / 3)
        return ((difference**2 + epsilon**2) ** (weight / 2)).mean()

    merged = output.merged
    loss = torch.sqrt((merged - target) ** 2 + 1e-6).mean()
    loss = loss + census_distance(merged.mean(1, True), target.mean(1, True), 7)
    for guess, true in zip(output.features, target_features, strict=True):
        loss = loss + 0.01 * census_distance(guess, true, 3)
    weight_a, weight_b = weight(output.flow_a, flow_a), weight(output.flow_b, flow_b)
    for coarse_a, coarse_b in output.flows:
        loss = loss + 0.01 * robust(coarse_a - flow_a, weight_a)
        loss = loss + 0.01 * robust(coarse_b - flow_b, weight_b)
    return loss
