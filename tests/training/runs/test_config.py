"""Configuration files of runs, whole and in part."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from videogen_jax.configs import RUNS
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.training.runs.config import load_run
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.weights.config_file import save_config, to_dict

BASE = RUNS["tiny-refiner"]


@pytest.fixture
def file(tmp_path):
    """Writes a configuration file; returns its path."""

    def write(fields: Any) -> Path:
        path = tmp_path / "my.json"
        path.write_text(json.dumps(fields))
        return path

    return write


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("tiny-")])
def test_a_whole_file_is_the_run_over_any_other(tmp_path, name):
    save_config(tmp_path / "config.json", RUNS[name])
    assert load_run(tmp_path / "config.json") == RUNS[name]
    assert load_run(tmp_path / "config.json", RUNS["shapes-flow"]) == RUNS[name]


def test_fields_with_defaults_may_be_left_out(file):
    whole = to_dict(BASE)
    fields = {name: whole[name] for name in ("model", "task", "steps", "batch_size")}
    run = load_run(file(fields))
    assert (run.model, run.task) == (BASE.model, BASE.task)
    assert run.optim == type(BASE.optim)() != BASE.optim


def test_a_part_replaces_the_fields_that_it_has(file):
    fields = {
        "steps": 7,
        "model": {"num_frames": 6, "flow": {"encoder_channels": [4, 6, 8]}},
        "data": {"degrade": {"jpeg_quality": [40, 50]}},
        "task": {"interpolation": "slerp"},
    }
    model = dataclasses.replace(
        BASE.model,
        num_frames=6,
        flow=dataclasses.replace(BASE.model.flow, encoder_channels=(4, 6, 8)),
    )
    degrade = dataclasses.replace(BASE.data.degrade, jpeg_quality=(40, 50))
    assert load_run(file(fields), BASE) == dataclasses.replace(
        BASE,
        steps=7,
        model=model,
        data=dataclasses.replace(BASE.data, degrade=degrade),
        task=RefinerTaskConfig("stage_3", "slerp"),
    )


def test_a_task_of_another_type_replaces_the_whole_task(file):
    assert load_run(file({"task": {"type": "FlowTaskConfig"}}), BASE).task == FlowTaskConfig()
    same = {"type": "RefinerTaskConfig", "interpolation": "slerp"}
    assert load_run(file({"task": same}), BASE).task == RefinerTaskConfig("stage_3", "slerp")


def test_a_tuple_is_replaced_whole(file):
    with pytest.raises(UserError, match=r"missing model.stages\[0\].unet, model.stages\[0\].sched"):
        load_run(file({"model": {"stages": [{"resolution": 8}]}}), BASE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optim": {"learning_rat": 1.0}}, "unknown optim.learning_rat; OptimConfig has name, lea"),
        ({"stesp": 3}, "unknown stesp; RunConfig has model, task"),
        ({"steps": "many"}, "steps is 'many', expected int"),
        ({"optim": 3}, "optim is 3, expected OptimConfig"),
        ({"task": {"type": "RefinerTask"}}, "task.type is 'RefinerTask', expected one of"),
        ({"task": {"type": "FlowTaskConfig", "interpolation": "flow"}}, "unknown task.interpolati"),
        ({"accumulate": 3}, "accumulate is 3, expected a divisor of batch_size, which is 8"),
        ([], r"the file is \[\], expected RunConfig"),
    ],
)
def test_an_error_names_file_and_field(file, fields, message):
    with pytest.raises(UserError, match=f"my.json: {message}"):
        load_run(file(fields), BASE)


def test_a_part_alone_lacks_fields(file):
    with pytest.raises(UserError, match="my.json: missing model, task, batch_size, which have no"):
        load_run(file({"steps": 3}))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFile, match="no configuration file .*none.json"):
        load_run(tmp_path / "none.json", BASE)
