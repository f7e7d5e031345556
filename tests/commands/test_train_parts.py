"""The training commands: presets, configuration files, flags, and a user's model from a file."""

import contextlib
import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import ModelConfig, cli
from videogen_jax.commands.train import parts, plan
from videogen_jax.configs import RUNS, runs_of
from videogen_jax.media.video import Video
from videogen_jax.pipeline.model_files import find_model, save_model
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.tasks import TASKS
from videogen_jax.weights.config_file import save_config, to_dict


def videogen(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    """Runs a command in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["videogen", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stopped:
        return stopped.code
    return 0


@pytest.fixture
def requested(monkeypatch) -> list[RunConfig]:
    """The runs that the command would train."""
    runs: list[RunConfig] = []
    monkeypatch.setattr(parts, "train_run", lambda config, *_, **options: runs.append(config))
    monkeypatch.setattr(parts, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(parts, "ending_at_once", contextlib.nullcontext)
    return runs


@pytest.fixture
def part_file(tmp_path) -> Path:
    path = tmp_path / "part.json"
    path.write_text(json.dumps({"steps": 7, "seed": 3, "optim": {"learning_rate": 0.5}}))
    return path


def whole_file(tmp_path: Path, name: str) -> Path:
    save_config(tmp_path / "run" / "config.json", RUNS[name])
    return tmp_path / "run" / "config.json"


FOLDERS = ("--run-dir", "run", "--model-dir", "model")


@pytest.mark.parametrize("name", parts.PARTS)
def test_each_command_has_the_presets_of_its_part(monkeypatch, requested, name):
    preset = next(iter(runs_of(name)))
    assert videogen(monkeypatch, "train", name, preset, *FOLDERS, "--seed", "5") == 0
    assert requested == [dataclasses.replace(RUNS[preset], seed=5)]


def test_all_presets_belong_to_one_command():
    assert sorted(name for part in parts.PARTS for name in runs_of(part)) == sorted(RUNS)


def test_a_whole_file_stands_for_a_preset(monkeypatch, requested, tmp_path):
    path = whole_file(tmp_path, "tiny-stage-2")
    flags = (*FOLDERS, "--steps", "9", "--model.fps", "3")
    assert videogen(monkeypatch, "train", "cascade", "--config", path, *flags) == 0
    run = RUNS["tiny-stage-2"]
    model = dataclasses.replace(run.model, fps=3.0)
    assert requested == [dataclasses.replace(run, steps=9, model=model)]


@pytest.mark.parametrize("first", [True, False])
def test_flags_override_a_file_which_overrides_a_preset(monkeypatch, requested, part_file, first):
    config = ("--config", part_file)
    words = (*config, "tiny-stage-2") if first else ("tiny-stage-2", *FOLDERS, *config)
    flags = ("--seed", "4", *(FOLDERS if first else ()))
    assert videogen(monkeypatch, "train", "cascade", *words, *flags) == 0
    run = RUNS["tiny-stage-2"]
    optim = dataclasses.replace(run.optim, learning_rate=0.5)
    assert requested == [dataclasses.replace(run, steps=7, seed=4, optim=optim)]


def test_a_file_may_change_the_type_of_the_task(monkeypatch, requested, tmp_path):
    path = tmp_path / "refiner.json"
    path.write_text(json.dumps({"task": to_dict(RUNS["tiny-refiner"])["task"]}))
    flags = ("--config", path, *FOLDERS, "--task.interpolation", "slerp")
    assert videogen(monkeypatch, "train", "temporal-sr", "tiny-flow", *flags) == 0
    task = dataclasses.replace(RUNS["tiny-refiner"].task, interpolation="slerp")
    assert requested == [dataclasses.replace(RUNS["tiny-flow"], task=task)]


@pytest.mark.parametrize("preset", [(), ("tiny-stage-1",)])
def test_a_file_of_another_command_is_an_error_that_names_it(
    monkeypatch, capsys, requested, tmp_path, preset
):
    path = whole_file(tmp_path, "tiny-flow")
    line = ("train", "cascade", *preset, "--config", path, *FOLDERS)
    assert videogen(monkeypatch, *line) == 1
    expected = f"{path}: task.type is FlowTaskConfig, which `videogen train temporal-sr` trains"
    assert capsys.readouterr().err == f"error: {expected}\n" and not requested


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--config", "none.json"), 1, "error: no configuration file none.json\n"),
        (("--config", "PART"), 1, "missing model, task, batch_size, which have no default\n"),
        ((), 2, "Expected one of {shapes-stage-1"),
        (("--config",), 2, "argument --config: expected one argument"),
        (("--config", "PART", "--run-dir", "x", "tiny-stage-1"), 1, "missing model, task"),
    ],
)
def test_wrong_calls(monkeypatch, capsys, requested, part_file, words, code, message):
    line = [part_file if word == "PART" else word for word in words]
    assert videogen(monkeypatch, "train", "cascade", *FOLDERS, *line) == code
    assert message in capsys.readouterr().err and not requested


@pytest.mark.parametrize("command", ["plan", "train cascade", "train cascade tiny-stage-1"])
def test_help_shows_the_flag_once(monkeypatch, capsys, command):
    assert videogen(monkeypatch, *command.split(), "--help") == 0
    assert capsys.readouterr().out.count("  --config FILE") == 1


@pytest.mark.parametrize(
    ("flag", "right"),
    [
        ("--optim.lr=1e-4", "--optim.learning-rate"),
        ("--train_batch_size", "--batch-size"),
        ("--resume-from-checkpoint", "the same command again"),
    ],
)
def test_another_name_of_a_flag_is_answered_with_the_right_one(
    monkeypatch, capsys, requested, flag, right
):
    words = ("train", "cascade", "tiny-stage-1", *FOLDERS, flag, "8")
    assert videogen(monkeypatch, *words) == 2 and not requested
    message = f"error: there is no option {flag.partition('=')[0]}, use {right}"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train cascade", "train cascade paper-stage-1"])
def test_help_has_at_most_60_lines(monkeypatch, capsys, command):
    monkeypatch.setenv("COLUMNS", "100")
    assert videogen(monkeypatch, *command.split(), "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 100
    if command.endswith("1"):
        groups = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
        order = ("task", "data", "optim", "loop", "mesh", "compute")
        assert groups == ["options:", *(f"{name}:" for name in order)]


def test_the_whole_help_has_the_fields_of_the_model(monkeypatch, capsys):
    assert videogen(monkeypatch, "train", "cascade", "tiny-stage-1", "--help-all") == 0
    text = capsys.readouterr().out
    assert "  --model.stages.2.unet.block-out-channels" in text
    assert text.index("\nloop:") < text.index("\nmodel:")


def test_a_plan_takes_files_of_every_command(monkeypatch, tmp_path):
    planned: list[RunConfig] = []
    monkeypatch.setattr(plan, "prepare", lambda topology: None)
    monkeypatch.setattr(plan, "_plan", lambda config, topology: planned.append(config))
    monkeypatch.setattr(plan, "describe", lambda plan: "")
    path = whole_file(tmp_path, "tiny-flow")
    line = ("plan", "--config", path, "--topology", "cpu:1", "--batch-size", "2")
    assert videogen(monkeypatch, *line) == 0
    assert planned == [dataclasses.replace(RUNS["tiny-flow"], batch_size=2)]


def own_model() -> ModelConfig:
    """Returns a model that is not a preset: other widths, resolutions and frames."""

    def changed(denoiser: Any, resolution: int) -> Any:
        unet = dataclasses.replace(
            denoiser.unet, block_out_channels=(24,), attention_levels=(False,), num_heads=(3,)
        )
        return dataclasses.replace(denoiser, unet=unet, resolution=resolution)

    low, high = MICRO.stages
    return dataclasses.replace(
        MICRO,
        name="own",
        image=changed(MICRO.image, 24),
        stages=(changed(low, 12), changed(high, 24)),
        refiner=changed(MICRO.refiner, 24),
        num_frames=6,
    )


# 40 seconds. The tests above read files; test_training_blocks.py trains, exports and samples.
@pytest.mark.slow
def test_a_users_own_model_trains_resumes_exports_and_samples(monkeypatch, capsys, tmp_path):
    on_one_device = functools.partial(train_run, devices=jax.devices()[:1])  # compiles faster
    monkeypatch.setattr(parts, "train_run", on_one_device)
    monkeypatch.setattr(parts, "enable_compilation_cache", lambda: None)
    monkeypatch.chdir(tmp_path)
    config = own_model()
    save_model("model", config, micro_model.TOKENIZER, micro_model.params(config))
    mine = {
        "model": to_dict(config),
        "task": {"type": "CascadeTaskConfig", "stage": 1},
        "steps": 5,
        "batch_size": 2,
        "data": {"num_frames": 6, "resolution": 12, "examples": 16},
        "optim": {"name": "sgd", "warmup_steps": 0},  # it compiles faster than AdamW
        "loop": {"log_every": 1, "sample_every": 0},
    }
    Path("my.json").write_text(json.dumps(mine))
    before = Path("model/stage_1.safetensors").read_bytes()
    line = ("train", "cascade", "--config", "my.json", "--run-dir", "run", "--model-dir", "model")

    assert videogen(monkeypatch, *line) == 0
    assert steps("run") == [1, 2, 3, 4, 5]
    assert videogen(monkeypatch, *line, "--steps", "7") == 0
    assert steps("run") == [1, 2, 3, 4, 5, 6, 7]

    capsys.readouterr()
    assert videogen(monkeypatch, "export", "run", "model") == 0
    written, last = capsys.readouterr().out.splitlines()
    assert written == "model/stage_1.safetensors"
    assert last == 'model: complete; next: videogen sample "PROMPT" --model model'
    assert Path("model/stage_1.safetensors").read_bytes() != before

    saved: list[Video] = []
    monkeypatch.setattr(Video, "save", lambda video, path: saved.append(video))
    flags = ("--stages", "1", "--temporal-sr", "0", "--steps", "1", "--cache-dir", tmp_path / "c")
    assert videogen(monkeypatch, "sample", "a red circle", "--model", "model", *flags) == 0
    assert saved[0].frames.shape == (6, 12, 12, 3)


def steps(run_dir: str) -> list[int]:
    """Returns the steps that a run has logged."""
    lines = (Path(run_dir) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_every_task_has_a_command():
    assert {task.command for task in TASKS} == set(parts.PARTS)


@pytest.mark.parametrize("command", ["plan", "train cascade", "train temporal-sr"])
def test_a_command_without_arguments_lists_its_presets(monkeypatch, capsys, requested, command):
    assert videogen(monkeypatch, *command.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    presets = RUNS if command == "plan" else runs_of(command.split()[1].replace("-", "_"))
    assert [line.split()[0] for line in lines[1:-1]] == list(presets)
    assert f"`videogen {command} PRESET --help`" in lines[-1] and not requested


@pytest.mark.parametrize(
    ("prog", "model", "expected"),
    [
        ("videogen train cascade", "my model", "videogen export run 'my model'"),
        ("python -m train.cascade", "model", "python -m train.export run model"),
        ("videogen train cascade", find_model("shapes"), "videogen export run NEW_MODEL_DIR"),
    ],
)
def test_the_last_line_says_where_results_are_and_what_is_next(
    capsys, requested, prog, model, expected
):
    line = ["tiny-stage-1", "--run-dir", "run", "--model-dir", str(model)]
    parts.cascade(prog, line)
    assert len(requested) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"run has metrics.jsonl, samples/ and checkpoints/; next: {expected}"
