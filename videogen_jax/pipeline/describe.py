"""The `repr` of a `VideoGen`: its sizes, components, dtype and devices."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from videogen_jax.config import ModelConfig
from videogen_jax.models.components import component_names
from videogen_jax.models.parameters import count


def describe_model(
    config: ModelConfig,
    params: Mapping[str, Any],
    mesh: Mesh,
    dtype: DTypeLike,
    directory: Path | None,
) -> str:
    """Returns several lines about a model.

    Args:
        config: the configuration.
        params: `{component: parameters}`; components may be missing.
        mesh: the devices.
        dtype: of the networks' computation.
        directory: where the parameters were read from.
    """
    devices = list(mesh.devices.flat)
    where = f" from {directory}" if directory else ""
    pixels = " → ".join(str(stage.resolution) for stage in config.stages)
    rounds = config.temporal_sr_rounds
    frames = " → ".join(
        str((config.num_frames - 1) * 2**number + 1) for number in range(rounds + 1)
    )
    names = component_names(config)
    sizes = {name: count(params[name]) for name in names if name in params}
    listed = ", ".join(f"{name} {size / 1e6:.1f} M" for name, size in sizes.items())
    lines = [
        f"VideoGen {config.name!r}{where}",
        f"  {pixels} pixels, {frames} frames, {config.fps:g} fps before temporal SR",
        f"  {listed or 'no components'}",
        f"  {jnp.dtype(dtype).name} on {len(devices)} × {devices[0].device_kind}",
    ]
    if missing := [name for name in names if name not in params]:
        lines.insert(3, f"  missing: {', '.join(missing)}")
    return "\n".join(lines)
