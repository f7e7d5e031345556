import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from videogen_jax.config import ModelConfig
from videogen_jax.configs.tiny import TINY
from videogen_jax.weights.config_file import from_dict, load_config, save_config, to_dict


@dataclass(frozen=True)
class Stage:
    channels: tuple[int, ...]
    sampler: Literal["ddim", "euler"] = "ddim"
    guidance: float = 7.5

    def __post_init__(self):
        if self.guidance < 0:
            raise ValueError(f"guidance is {self.guidance}, expected 0 or more")


@dataclass(frozen=True)
class Model:
    name: str
    stages: tuple[Stage, ...]
    size: tuple[int, float] = (1, 2.0)
    temporal: bool = True
    limit: float | None = None
    width: int | str = 3
    skip: Literal[0, 1] = 0
    refiner: Stage | None = None
    image: Stage = field(default_factory=lambda: Stage((1,)))


MODEL = Model("m", (Stage((64, 96)), Stage((), "euler", 1.0)), limit=0.1, width="wide")


def test_round_trip_through_a_file(tmp_path):
    for model in (MODEL, replace(MODEL, limit=None, refiner=Stage((3,)), width=4)):
        path = tmp_path / "new" / "config.json"
        save_config(path, model)
        loaded = load_config(path, Model)
        assert loaded == model
        assert hash(loaded) == hash(model)


def test_left_out_fields_take_the_default_and_int_becomes_float():
    model = from_dict({"name": "m", "stages": [{"channels": [1], "guidance": 2}]}, Model)
    assert model == Model("m", (Stage((1,), guidance=2.0),))
    assert type(model.stages[0].guidance) is float


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    data = node = to_dict(MODEL)
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["temporal"], 1, "c: temporal is 1, expected bool"),
        (["name"], None, "c: name is None, expected str"),
        (["limit"], "0.1", "c: limit is '0.1', expected finite float"),
        (["limit"], float("nan"), "c: limit is nan, expected finite float"),
        (["limit"], float("inf"), "c: limit is inf, expected finite float"),
        (["limit"], True, "c: limit is True, expected finite float"),
        (["width"], 1.5, "c: width is 1.5, expected int | str"),
        (["skip"], True, "c: skip is True, expected one of 0, 1"),
        (["size"], [1], "c: size is [1], expected tuple[int, float]"),
        (["size", 0], 2.0, "c: size[0] is 2.0, expected int"),
        (["stages"], {}, "c: stages is {}, expected tuple"),
        (["stages", 1], 3, "c: stages[1] is 3, expected Stage"),
        (["stages", 0, "channels", 1], True, "c: stages[0].channels[1] is True, expected int"),
        (
            ["stages", 0, "sampler"],
            "x",
            "stages[0].sampler is 'x', expected one of 'ddim', 'euler'",
        ),
        (["stages", 0, "sampler"], ["ddim"], "c: stages[0].sampler is ['ddim'], expected one of"),
        (["stages", 0, "guidance"], -1.0, "c: stages[0].guidance is -1.0, expected 0 or more"),
        (
            ["stages", 0, "chanels"],
            [1],
            "c: unknown stages[0].chanels; Stage has channels, sampler, guidance",
        ),
        (["refiner"], {"guidance": 1.0}, "c: missing refiner.channels, which have no default"),
    ],
)
def test_bad_values_are_named_with_their_path(path, value, message):
    with pytest.raises(ValueError) as error:
        from_dict(changed(path, value), Model, where="c")
    assert message in str(error.value)


def test_save_refuses_what_would_not_load(tmp_path):
    path = tmp_path / "config.json"
    wrong: Any = "yes"
    for model in (replace(MODEL, limit=float("nan")), replace(MODEL, temporal=wrong)):
        with pytest.raises(ValueError, match="config.json: (limit|temporal) is"):
            save_config(path, model)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "m", "stages": []', "not a JSON file"),
        ('{"name": "m", "name": "n", "stages": []}', "field given more than once: name"),
        ('["m"]', "the file is ['m'], expected Model"),
        ('{"name": "m", "stages": [], "limit": 1e999}', "limit is inf, expected finite float"),
        ("\xff", "not a JSON file"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError) as error:
        load_config(path, Model)
    assert str(path) in str(error.value) and message in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no configuration file .*nothing.json"):
        load_config(tmp_path / "nothing.json", Model)


def test_file_is_readable_json(tmp_path):
    save_config(tmp_path / "config.json", MODEL)
    assert json.loads((tmp_path / "config.json").read_text())["stages"][0]["channels"] == [64, 96]


@dataclass(frozen=True)
class Circle:
    size: float = 1.0


@dataclass(frozen=True)
class Square:
    size: float = 1.0


@dataclass(frozen=True)
class Drawing:
    shape: Circle | Square


def test_one_of_several_dataclasses_is_identified_by_its_name(tmp_path):
    # Both have the same fields, so without a name the first would match either.
    save_config(tmp_path / "config.json", Drawing(Square(2.0)))
    assert load_config(tmp_path / "config.json", Drawing) == Drawing(Square(2.0))
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "shape": {"type": "Square", "size": 2.0}
    }
    with pytest.raises(ValueError, match=r"shape.type is 'Star', expected one of Circle, Square"):
        from_dict({"shape": {"type": "Star"}}, Drawing)
    with pytest.raises(ValueError, match=r"unknown shape.radius; Square has size"):
        from_dict({"shape": {"type": "Square", "radius": 1}}, Drawing)


@pytest.mark.parametrize("odd", [0, -1])
@pytest.mark.parametrize(
    "field",
    [
        *("num_frames", "lowpass_factor", "image.resolution"),
        *("text_encoder.vocab_size", "text_encoder.max_length", "text_encoder.hidden_size"),
        *("text_encoder.intermediate_size", "text_encoder.num_layers", "text_encoder.num_heads"),
        *("autoencoder.in_channels", "autoencoder.latent_channels"),
        *("autoencoder.block_out_channels", "autoencoder.layers_per_block"),
        *("autoencoder.norm_groups", "autoencoder.scaling_factor"),
        *("image.unet.in_channels", "image.unet.out_channels", "image.unet.block_out_channels"),
        *("image.unet.layers_per_block", "image.unet.num_heads", "image.unet.transformer_layers"),
        *("image.unet.cross_attention_dim", "image.unet.norm_groups"),
        *("flow.in_channels", "flow.encoder_channels"),
    ],
)
def test_sizes_that_are_not_positive_are_named(tmp_path, field, odd):
    data = to_dict(TINY)
    *parents, name = field.split(".")
    node = data
    for parent in parents:
        node = node[parent]
    node[name] = [odd] * len(node[name]) if isinstance(node[name], list) else odd
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=rf"config.json: .*\.{name} is .*, expected positive") as e:
        load_config(tmp_path / "config.json", ModelConfig)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_json_that_is_nested_too_deeply(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json: not a JSON file: .* nested too deeply"):
        load_config(tmp_path / "config.json", ModelConfig)
