"""The conversion engine with a small table: strict in both directions, and its own inverse."""

import ml_dtypes
import numpy as np
import pytest

from videogen_jax.weights.rules import (
    CONV,
    LINEAR,
    POINTWISE,
    VECTOR,
    Rule,
    Table,
    export_weights,
    import_weights,
)

TABLE = Table(
    rules=(
        Rule("blocks.{i}.conv.weight", "blocks_{i}/conv/kernel", CONV),
        Rule("blocks.{i}.conv.bias", "blocks_{i}/conv/bias", VECTOR),
        Rule("blocks.{i}.layers.{j}.weight", "blocks_{i}/layers_{j}/kernel", LINEAR),
        Rule("proj.weight", "proj/kernel", POINTWISE),
    ),
    aliases=(("model.", ""), ("old_proj.", "proj.")),
    ignored=("position_ids",),
)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.fixture
def source() -> dict[str, np.ndarray]:
    return {
        "blocks.0.conv.weight": random(5, 3, 2, 4),
        "blocks.0.conv.bias": random(5),
        "blocks.0.layers.12.weight": random(6, 7),
        "proj.weight": random(3, 2),
    }


@pytest.fixture
def expected() -> dict:
    return {
        "blocks_0": {
            "conv": {"kernel": np.empty((2, 4, 3, 5)), "bias": np.empty(5)},
            "layers_12": {"kernel": np.empty((7, 6))},
        },
        "proj": {"kernel": np.empty((2, 3))},
    }


def problems(source: dict, expected: dict, table: Table = TABLE) -> list[str]:
    with pytest.raises(ValueError, match="weights.file does not fit") as caught:
        import_weights(table, source, expected, name="weights.file")
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_import_places_and_transposes(source, expected):
    params = import_weights(TABLE, source, expected, name="weights.file")
    kernel = params["blocks_0"]["conv"]["kernel"]
    assert kernel.shape == (2, 4, 3, 5)
    assert kernel[1, 3, 2, 4] == source["blocks.0.conv.weight"][4, 2, 1, 3]
    np.testing.assert_array_equal(params["blocks_0"]["conv"]["bias"], source["blocks.0.conv.bias"])
    layer = source["blocks.0.layers.12.weight"]
    np.testing.assert_array_equal(params["blocks_0"]["layers_12"]["kernel"], layer.T)
    assert kernel.flags.c_contiguous


def test_export_inverts_import(source, expected):
    params = import_weights(TABLE, source, expected, name="weights.file")
    exported = export_weights(TABLE, params)
    assert exported.keys() == source.keys()
    for key, array in exported.items():
        np.testing.assert_array_equal(array, source[key])
        assert array.flags.c_contiguous


@pytest.mark.parametrize("theirs", [(3, 2), (3, 2, 1, 1)])
@pytest.mark.parametrize("ours", [(2, 3), (1, 1, 2, 3)])
def test_pointwise_is_convolution_or_linear_on_either_side(source, expected, theirs, ours):
    source["proj.weight"] = random(3, 2).reshape(theirs)
    expected["proj"]["kernel"] = np.empty(ours)
    params = import_weights(TABLE, source, expected, name="weights.file")
    kernel = params["proj"]["kernel"]
    assert kernel.shape == ours
    np.testing.assert_array_equal(kernel.reshape(2, 3), random(3, 2).T)
    back = export_weights(TABLE, params)["proj.weight"]
    np.testing.assert_array_equal(back.reshape(3, 2), random(3, 2))
    assert back.ndim == len(ours)


@pytest.mark.parametrize("theirs", [(2, 3), (3, 2, 1, 2), (6,), (3, 2, 1)])
def test_pointwise_refuses_what_only_has_the_same_size(source, expected, theirs):
    source["proj.weight"] = np.zeros(theirs)
    assert problems(source, expected) == [
        f"! proj.weight has shape {theirs}, expected (3, 2)",
    ]


def test_aliases_and_ignored_keys(source, expected):
    source["model.old_proj.weight"] = source.pop("proj.weight")
    source["model.position_ids"] = np.arange(3)
    params = import_weights(TABLE, source, expected, name="weights.file")
    np.testing.assert_array_equal(params["proj"]["kernel"], random(3, 2).T)


def test_dtype_is_kept(source, expected):
    source["proj.weight"] = source["proj.weight"].astype(ml_dtypes.bfloat16)
    params = import_weights(TABLE, source, expected, name="weights.file")
    assert params["proj"]["kernel"].dtype == ml_dtypes.bfloat16
    assert params["blocks_0"]["conv"]["bias"].dtype == np.float32


def test_all_problems_are_raised_together(source, expected):
    source["surplus.weight"] = random(1)  # no rule
    source["blocks.1.conv.bias"] = random(5)  # a rule, but no such parameter
    source["old_proj.weight"] = source["proj.weight"]  # the same parameter twice
    source["blocks.0.conv.weight"] = random(5, 3, 2)  # rank
    source["blocks.0.conv.bias"] = random(4)  # size
    del source["blocks.0.layers.12.weight"]
    expected["head"] = {"bias": np.empty(1)}  # no rule yields it
    assert sorted(problems(source, expected)) == [
        "! blocks.0.conv.bias has shape (4,), expected (5,)",
        "! blocks.0.conv.weight has shape (5, 3, 2), expected (5, 3, 2, 4)",
        "+ old_proj.weight and proj.weight are the same parameter, proj/kernel",
        "+ unexpected blocks.1.conv.bias",
        "+ unexpected surplus.weight",
        "- missing blocks_0/layers_12/kernel, blocks.0.layers.12.weight",
        "- missing head/bias, which no rule gives",
    ]


def test_two_rules_for_a_name_are_an_error_either_way(source, expected):
    twice = Table((*TABLE.rules, Rule("proj.weight", "other/kernel", LINEAR)))
    expected["other"] = {"kernel": np.empty((2, 3))}
    assert "+ proj.weight goes to proj/kernel and other/kernel" in problems(source, expected, twice)

    twice = Table((*TABLE.rules, Rule("old.weight", "proj/kernel", LINEAR)))
    message = r"proj/kernel is taken by proj\.weight and old\.weight"
    with pytest.raises(ValueError, match=message):
        export_weights(twice, {"proj": {"kernel": random(2, 3)}})


def test_two_parameters_of_one_name_cannot_be_exported():
    table = Table((Rule("a.bias", "a/bias", VECTOR), Rule("a.bias", "b/bias", VECTOR)))
    params = {"a": {"bias": random(1)}, "b": {"bias": random(1)}}
    with pytest.raises(ValueError, match=r"b/bias is not the only one with the name a\.bias"):
        export_weights(table, params)


def test_export_names_every_parameter_without_a_rule():
    with pytest.raises(ValueError, match=r"(?s)no rule takes a/kernel.*no rule takes b/kernel"):
        export_weights(TABLE, {"a": {"kernel": random(1)}, "b": {"kernel": random(1)}})


def test_placeholders_stand_for_whole_numbers_only():
    rule = TABLE.rules[0]
    assert rule.target_of("blocks.10.conv.weight") == "blocks_10/conv/kernel"
    assert rule.source_of("blocks_10/conv/kernel") == "blocks.10.conv.weight"
    assert rule.target_of("blocks.x.conv.weight") is None
    assert rule.target_of("blocks.1.conv.weight.more") is None
    assert rule.target_of("blocks_1.conv.weight") is None


def test_a_rule_that_cannot_be_inverted_is_refused():
    with pytest.raises(ValueError, match="placeholders differ"):
        Rule("blocks.{i}.weight", "block/kernel", LINEAR)
