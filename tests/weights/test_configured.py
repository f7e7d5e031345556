"""Components with a configuration of their own are added whole, once, or not at all."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest

from videogen_jax.errors import UserError
from videogen_jax.weights.configured import add_configured, load_configured, require_absent


@dataclass(frozen=True)
class Sizes:
    width: int = 3


def shapes(sizes: Sizes) -> dict:
    return {"bias": jax.ShapeDtypeStruct((sizes.width,), np.float32)}


def params(*values: float) -> dict[str, np.ndarray]:
    return {"bias": np.array(values, np.float32)}


def test_what_is_added_comes_back(tmp_path):
    add_configured(tmp_path / "model", "teacher", Sizes(2), params(1, 2), "bfloat16")
    add_configured(tmp_path / "model", "judge", Sizes(), params(1, 2, 3), None)
    config, found = load_configured(tmp_path / "model", "teacher", Sizes, shapes)
    assert config == Sizes(2)
    np.testing.assert_array_equal(found["bias"], np.array([1, 2], np.float32))
    config, found = load_configured(tmp_path / "model", "judge", Sizes, shapes)
    assert config == Sizes() and found["bias"].shape == (3,)


def test_nothing_is_replaced(tmp_path):
    add_configured(tmp_path, "teacher", Sizes(2), params(1, 2), None)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(UserError, match=f"{tmp_path} has a teacher already"):
        add_configured(tmp_path, "teacher", Sizes(), params(1, 2, 3), None)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    (tmp_path / "judge.json").write_text("{}")
    with pytest.raises(UserError, match=f"{tmp_path} has a judge already"):
        require_absent(tmp_path, "judge")


def test_a_component_that_cannot_be_saved_leaves_nothing(tmp_path):
    for directory in (tmp_path, tmp_path / "new"):
        with pytest.raises(UserError, match="not finite"):
            add_configured(directory, "teacher", Sizes(1), params(np.nan), None)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_does_not_fit_is_named(tmp_path):
    add_configured(tmp_path, "teacher", Sizes(2), params(1, 2), None)
    (tmp_path / "teacher.json").write_text('{"width": 5}')
    with pytest.raises(UserError, match=r"teacher\.safetensors does not fit the configuration"):
        load_configured(tmp_path, "teacher", Sizes, shapes)
