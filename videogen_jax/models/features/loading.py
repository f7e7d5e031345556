"""Loading of the networks of metrics and losses, which are components of a model directory."""

import os
from functools import partial
from pathlib import Path

from videogen_jax.models.features.lpips import LPIPSConfig
from videogen_jax.models.parameters import Params, init_lpips, shapes

LPIPS_COMPONENT = "lpips"


def load_lpips(model_dir: str | os.PathLike[str]) -> Params:
    """Loads the float32 parameters for `lpips` that `convert_lpips` wrote.

    Raises:
        MissingFile: The directory has no `lpips`.
        UserError: A file is damaged, or the parameters do not fit their configuration.
    """
    # Imported here because `import videogen_jax` must not need safetensors.
    from videogen_jax.weights.configured import load_configured

    directory = Path(model_dir)
    shapes_of = partial(shapes, init_lpips)
    return load_configured(directory, LPIPS_COMPONENT, LPIPSConfig, shapes_of)[1]
