"""LPIPS in PyTorch, written from the paper and the public code, as the reference of its tests.

Layers have the places of torchvision's `features` and the heads the names of the package `lpips`.
"""

import torch
from torch import nn

VGG16 = [64, 64, "pool", 128, 128, "pool", *(2 * [256]), 256, "pool"]
VGG16 = [*VGG16, *(3 * [512]), "pool", *(3 * [512])]
ENDS = {"vgg16": (3, 8, 15, 22, 29), "alexnet": (1, 4, 7, 9, 11)}  # the last ReLU of each level
CLASSIFIER = {"vgg16": (0, 3, 6), "alexnet": (1, 4, 6)}
WIDTHS = {"vgg16": (64, 128, 256, 512, 512), "alexnet": (64, 192, 384, 256, 256)}


def vgg16() -> nn.Sequential:
    layers, channels = [], 3
    for width in VGG16:
        if width == "pool":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


def alexnet() -> nn.Sequential:
    return nn.Sequential(
        *[nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)],
        *[nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)],
        *[nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()],
        *[nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()],
        *[nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()],
    )


class LPIPS(nn.Module):
    """Maps two batches `b c h w` in [-1, 1] to their distances `b`."""

    def __init__(self, network: str):
        super().__init__()
        self.network = network
        self.features = vgg16() if network == "vgg16" else alexnet()
        self.heads = nn.ParameterList(torch.rand(1, c, 1, 1) for c in WIDTHS[network])

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
        x = (x - shift) / torch.tensor([0.458, 0.448, 0.450])[:, None, None]
        found = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in ENDS[self.network]:
                length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
                found.append(x / (length + 1e-10))
        return found

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        levels = zip(self.levels(x), self.levels(y), self.heads, strict=True)
        return sum(
            nn.functional.conv2d((a - b) ** 2, head).mean((1, 2, 3)) for a, b, head in levels
        )

    def torchvision_state(self) -> dict[str, torch.Tensor]:
        """Returns the state dict of torchvision's network, with a classifier of other sizes."""
        state = {f"features.{key}": value for key, value in self.features.state_dict().items()}
        for place in CLASSIFIER[self.network]:
            state |= {f"classifier.{place}.weight": torch.ones(2, 3)}
            state |= {f"classifier.{place}.bias": torch.ones(2)}
        return state

    def heads_state(self) -> dict[str, torch.Tensor]:
        """Returns the content of the package's files of heads."""
        return {f"lin{i}.model.1.weight": head.detach() for i, head in enumerate(self.heads)}

    def package_state(self) -> dict[str, torch.Tensor]:
        """Returns the state dict of the package's own module."""
        state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
        state |= {"scaling_layer.scale": torch.ones(1, 3, 1, 1)}
        for key, value in self.features.state_dict().items():
            place = int(key.split(".")[0])
            level = next(i for i, end in enumerate(ENDS[self.network], start=1) if place <= end)
            state[f"net.slice{level}.{key}"] = value
        for key, head in self.heads_state().items():
            state |= {key: head, key.replace("lin", "lins."): head}
        return state
