import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax import trees


def params():
    return {
        "conv_in": {"kernel": np.ones((3, 3, 4, 8), np.float32), "bias": np.ones(8, np.float32)},
        "blocks_0": {"temporal_conv": {"kernel": np.ones((3, 8, 8), np.float32)}},
    }


def test_paths_are_in_leaf_order_and_flatten_round_trips():
    tree = params()
    expected = ["blocks_0/temporal_conv/kernel", "conv_in/bias", "conv_in/kernel"]
    assert trees.paths(tree) == expected
    assert list(trees.flatten(tree)) == expected
    assert jax.tree.structure(trees.unflatten(trees.flatten(tree))) == jax.tree.structure(tree)


def test_paths_of_any_pytree():
    assert trees.paths(({"a": 1}, [2, 3])) == ["0/a", "1/0", "1/1"]


def test_unflatten_refuses_a_leaf_that_is_a_branch():
    for leaves in ({"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}):
        with pytest.raises(ValueError, match="a"):
            trees.unflatten(leaves)


def test_match_takes_the_first_full_match():
    rules = [("conv_in/.*", "first"), (".*/kernel", "second")]
    values = trees.match(rules, params(), default=None)
    assert values == {
        "conv_in": {"kernel": "first", "bias": "first"},
        "blocks_0": {"temporal_conv": {"kernel": "second"}},
    }
    assert trees.match([("conv_in/kernel", 1)], params(), default=0)["conv_in"]["bias"] == 0


def test_match_is_of_the_whole_path():
    tree = {"conv": 0, "conv_in": 0}
    assert trees.mask(["conv"], tree) == {"conv": True, "conv_in": False}
    assert trees.mask([".*in"], tree) == {"conv": False, "conv_in": True}


def test_mask_selects_by_any_pattern():
    selected = trees.mask([".*/temporal_[^/]*/.*", ".*/bias"], params())
    assert trees.flatten(selected) == {
        "blocks_0/temporal_conv/kernel": True,
        "conv_in/bias": True,
        "conv_in/kernel": False,
    }


def test_patterns_without_a_match_are_listed_with_near_misses():
    with pytest.raises(ValueError) as error:
        trees.mask(["temporal_conv", "conv_in/.*", "conv_on/kernel", "["], params())
    message = str(error.value)
    assert "'temporal_conv'; near it: blocks_0/temporal_conv/kernel" in message
    assert "'conv_on/kernel'; near it: conv_in/kernel" in message
    assert "'[' is not a regular expression" in message
    assert "conv_in/.*" not in message


def test_merge_copies_in_the_dtype_of_the_target_and_reports():
    source = {
        "conv_in": {"kernel": jnp.full((3, 3, 4, 8), 2, jnp.bfloat16), "bias": jnp.zeros(8)},
        "head": {"kernel": jnp.zeros((8, 2))},
    }
    merged, report = trees.merge(
        params(), source, allow_missing=[".*/temporal_conv/.*"], allow_unused=["head/.*"]
    )
    assert merged["conv_in"]["kernel"].dtype == np.float32
    np.testing.assert_array_equal(merged["conv_in"]["kernel"], 2)
    np.testing.assert_array_equal(merged["blocks_0"]["temporal_conv"]["kernel"], 1)
    assert report == trees.Report(
        copied=("conv_in/bias", "conv_in/kernel"),
        grown=(),
        new=("blocks_0/temporal_conv/kernel",),
        unused=("head/kernel",),
    )


def test_merge_raises_with_every_unexcused_path():
    source = {
        "conv_in": {"kernel": np.zeros((3, 3, 4, 9), np.float32)},
        "head": {"kernel": np.zeros((8, 2), np.float32)},
    }
    with pytest.raises(ValueError) as error:
        trees.merge(params(), source)
    assert str(error.value).splitlines() == [
        "cannot load 4 parameters:",
        "  - missing blocks_0/temporal_conv/kernel",
        "  - missing conv_in/bias",
        "  + unexpected head/kernel",
        "  ! conv_in/kernel has shape (3, 3, 4, 9), expected (3, 3, 4, 8)",
    ]


def test_merge_refuses_patterns_that_match_nothing():
    for patterns in ({"allow_missing": ["temporal"]}, {"allow_unused": ["temporal"]}):
        with pytest.raises(ValueError, match="'temporal'; near it: blocks_0/temporal_conv/kernel"):
            trees.merge(params(), params(), **patterns)


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_merge_grows_input_channels_with_zeros(asarray):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 8)).astype(np.float32)
    source = params()
    source["conv_in"]["kernel"] = asarray(kernel)
    with pytest.raises(ValueError, match="conv_in/kernel has shape"):
        trees.merge(params(), source)
    merged, report = trees.merge(params(), source, grow=["conv_in/kernel"])
    np.testing.assert_array_equal(merged["conv_in"]["kernel"][:, :, :2], kernel)
    np.testing.assert_array_equal(merged["conv_in"]["kernel"][:, :, 2:], 0)
    assert report.grown == ("conv_in/kernel",)
    assert "conv_in/kernel" not in report.copied


@pytest.mark.parametrize("shape", [(3, 3, 5, 8), (3, 3, 2, 7), (1, 1, 2, 8), (2, 8)])
def test_merge_grows_nothing_but_input_channels(shape):
    source = params()
    source["conv_in"]["kernel"] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match="conv_in/kernel has shape"):
        trees.merge(params(), source, grow=["conv_in/kernel"])


def test_merge_plans_with_shapes_alone():
    target = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, params()))
    source = jax.eval_shape(lambda: {"conv_in": jax.tree.map(jnp.asarray, params()["conv_in"])})
    source["conv_in"]["kernel"] = jax.ShapeDtypeStruct((3, 3, 2, 8), jnp.bfloat16)
    merged, report = trees.merge(target, source, allow_missing=["blocks_0/.*"], grow=["conv_in/.*"])
    assert merged == target
    assert report.grown == ("conv_in/kernel",)


def test_report_prints_numbered_paths_as_one_line():
    new = ("blocks_0/conv_1/kernel", "blocks_1/conv_1/kernel", "head/bias")
    text = str(trees.Report(copied=("a", "b"), grown=(), new=new, unused=()))
    assert text.splitlines() == [
        "2 copied, 0 grown, 3 new, 0 unused",
        "  new blocks_*/conv_*/kernel (2)",
        "  new head/bias",
    ]
