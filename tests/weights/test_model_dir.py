import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax import trees
from videogen_jax.weights.model_dir import (
    check_against,
    list_components,
    load_component,
    open_component,
    save_component,
)


def params():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    return {"conv_in": {"kernel": kernel, "bias": np.arange(4.0, dtype=np.float32)}}


@pytest.fixture
def saved(tmp_path):
    save_component(tmp_path, "stage_1", params())
    return tmp_path


def test_round_trip_is_exact(tmp_path):
    tree = jax.tree.map(jnp.asarray, params()) | {"scale": jnp.float32(3), "count": jnp.int32(7)}
    save_component(tmp_path / "new", "stage_1", tree)
    loaded = load_component(tmp_path / "new", "stage_1", check_finite=True)
    assert trees.paths(loaded) == trees.paths(tree)
    jax.tree.map(np.testing.assert_array_equal, loaded, tree)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), loaded) == jax.tree.map(
        lambda a: (a.shape, a.dtype), tree
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_stored_in_another_dtype_and_loaded_as_float32(tmp_path, dtype):
    save_component(tmp_path, "stage_1", params(), dtype)
    save_component(tmp_path, "stage_2", params())
    size_1, size_2 = (tmp_path / f"stage_{i}.safetensors" for i in (1, 2))
    assert size_1.stat().st_size < size_2.stat().st_size
    rounded = params()["conv_in"]["kernel"].astype(dtype)
    loaded = load_component(tmp_path, "stage_1")["conv_in"]["kernel"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, rounded.astype(np.float32))
    assert load_component(tmp_path, "stage_1", None)["conv_in"]["kernel"].dtype == rounded.dtype


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", None])
def test_an_opened_component_reads_as_a_loaded_one(tmp_path, dtype):
    save_component(tmp_path, "stage_1", params(), dtype)
    loaded, opened = load_component(tmp_path, "stage_1"), open_component(tmp_path, "stage_1")
    assert trees.paths(opened) == trees.paths(loaded)
    jax.tree.map(np.testing.assert_array_equal, opened, loaded)
    kernel, expected = opened["conv_in"]["kernel"], loaded["conv_in"]["kernel"]
    assert (kernel.shape, kernel.dtype) == (expected.shape, np.float32)
    np.testing.assert_array_equal(kernel[1:2, ..., 2:], expected[1:2, ..., 2:])
    assert kernel.astype(np.float16)[:].dtype == np.float16


def test_an_opened_component_is_verified_and_merges_like_a_loaded_one(saved):
    grown = {"conv_in": {"kernel": np.ones((3, 3, 5, 4), np.float32), "bias": np.zeros(4)}}
    merged, report = trees.merge(grown, open_component(saved, "stage_1"), grow=[".*/kernel"])
    expected, _ = trees.merge(grown, load_component(saved, "stage_1"), grow=[".*/kernel"])
    jax.tree.map(np.testing.assert_array_equal, merged, expected)
    assert report.grown == ("conv_in/kernel",)
    (saved / "stage_1.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="is damaged"):
        open_component(saved, "stage_1")


def test_transposed_arrays_keep_their_values(tmp_path):
    kernel = np.arange(6.0, dtype=np.float32).reshape(2, 3).T
    save_component(tmp_path, "stage_1", {"kernel": kernel})
    np.testing.assert_array_equal(load_component(tmp_path, "stage_1")["kernel"], kernel)


def test_list_and_replace(saved):
    save_component(saved, "autoencoder", {"bias": np.zeros(1, np.float32)})
    save_component(saved, "stage_1", {"bias": np.ones(1, np.float32)})
    assert list_components(saved) == ["autoencoder", "stage_1"]
    assert trees.paths(load_component(saved, "stage_1")) == ["bias"]
    assert trees.paths(load_component(saved, "autoencoder")) == ["bias"]
    files = ["autoencoder.safetensors", "manifest.json", "stage_1.safetensors"]
    assert sorted(path.name for path in saved.iterdir()) == files


def test_unknown_component_lists_what_there_is(saved):
    with pytest.raises(FileNotFoundError, match="no component 'flow' in .*; there are: stage_1"):
        load_component(saved, "flow")
    with pytest.raises(FileNotFoundError, match="no model directory .*nowhere"):
        load_component(saved / "nowhere", "flow")


def flip_a_byte(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "its content differs"),
        (lambda content: content[:-10], "it has .* bytes, saved were"),
        (lambda content: b"", "it has 0 bytes"),
    ],
)
def test_damage_is_detected(saved, damage, message):
    path = saved / "stage_1.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path} is damaged: {message}"):
        load_component(saved, "stage_1")


def test_file_from_elsewhere_is_refused(saved):
    (saved / "flow.safetensors").write_bytes((saved / "stage_1.safetensors").read_bytes())
    with pytest.raises(ValueError, match="flow.safetensors has no checksum in manifest.json"):
        load_component(saved, "flow")


def test_recorded_file_that_is_not_safetensors(saved, monkeypatch):
    path = saved / "stage_1.safetensors"
    path.write_bytes(b"x" * path.stat().st_size)
    monkeypatch.setattr("videogen_jax.weights.model_dir.verify", lambda path, saved: None)
    with pytest.raises(ValueError, match=f"{path} is not a safetensors file"):
        load_component(saved, "stage_1")


@pytest.mark.parametrize("text", ["{", "3", '{"stage_1": {"bytes": "1", "sha256": ""}}'])
def test_damaged_manifest_is_named(saved, text):
    (saved / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="manifest.json"):
        load_component(saved, "stage_1")


def test_manifest_records_every_component(saved):
    save_component(saved, "flow", params())
    manifest = json.loads((saved / "manifest.json").read_text())
    assert list(manifest) == ["flow", "stage_1"]
    assert manifest["flow"]["bytes"] == (saved / "flow.safetensors").stat().st_size
    assert len(manifest["flow"]["sha256"]) == 64


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, None), (1e6, "float16")])
def test_save_refuses_what_is_not_finite(tmp_path, value, dtype):
    tree = params() | {"bad": np.array([0, value], np.float32)}
    with pytest.raises(ValueError, match="'stage_1' has tensors that are not finite.*\n  bad$"):
        save_component(tmp_path, "stage_1", tree, dtype)
    assert not list(tmp_path.iterdir())


def test_load_can_search_for_what_is_not_finite(tmp_path):
    save_component(tmp_path, "stage_1", {"large": np.array([1e6], np.float32)})
    load_component(tmp_path, "stage_1", "float16")
    with pytest.raises(ValueError, match="stage_1.safetensors has tensors that are not finite"):
        load_component(tmp_path, "stage_1", "float16", check_finite=True)


def test_check_against_lists_every_difference():
    expected = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, params()))
    check_against(expected, params(), "file")
    found = {"conv_in": {"kernel": np.zeros((3, 3, 4, 4))}, "head": {"bias": np.zeros(1)}}
    with pytest.raises(ValueError) as error:
        check_against(expected, found, "m/stage_1.safetensors")
    assert str(error.value).splitlines() == [
        "m/stage_1.safetensors does not fit the configuration:",
        "  - missing conv_in/bias",
        "  + unexpected head/bias",
        "  ! conv_in/kernel has shape (3, 3, 4, 4), expected (3, 3, 2, 4)",
    ]
