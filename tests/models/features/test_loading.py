"""Networks of metrics and losses are loaded from a model directory, and checked."""

import dataclasses

import jax
import numpy as np
import pytest

from videogen_jax import trees
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models.features.loading import LPIPS_COMPONENT, load_lpips
from videogen_jax.models.features.lpips import LPIPSConfig
from videogen_jax.models.parameters import init_lpips, shapes
from videogen_jax.weights.config_file import save_config
from videogen_jax.weights.configured import add_configured

TINY = LPIPSConfig("alexnet", (4, 5, 6, 7, 8))


def test_lpips_comes_back_or_names_what_is_wrong(tmp_path):
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.random(x.shape, np.float32), shapes(init_lpips, TINY))
    add_configured(tmp_path / "model", LPIPS_COMPONENT, TINY, params, None)
    found, expected = trees.flatten(load_lpips(tmp_path / "model")), trees.flatten(params)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[path], leaf) for path, leaf in expected.items())

    other = dataclasses.replace(TINY, channels=(4, 5, 6, 7, 9))
    save_config(tmp_path / "model" / "lpips.json", other)
    with pytest.raises(UserError, match="head_4/kernel"):
        load_lpips(tmp_path / "model")
    (tmp_path / "model" / "lpips.json").unlink()
    with pytest.raises(MissingFile, match=r"no configuration file .*lpips\.json"):
        load_lpips(tmp_path / "model")
    with pytest.raises(MissingFile, match="no model directory"):
        load_lpips(tmp_path / "none")
