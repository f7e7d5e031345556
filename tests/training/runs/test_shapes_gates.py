"""The quality gates between the parts of the shipped model, and the runs of its ablations."""

import json
from pathlib import Path

import numpy as np
import pytest

from videogen_jax.configs import ABLATIONS, RUNS
from videogen_jax.training.runs import shapes_gates, shapes_model
from videogen_jax.training.runs.shapes_gates import LEAST, check_gate
from videogen_jax.weights.model_dir import load_component, save_component


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """Returns a function that checks a part with these measurements."""
    monkeypatch.setattr(shapes_gates.VideoGen, "load", lambda directory: directory)

    def check(name: str, measured: dict, *rows: dict) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows or [{"loss": 1.0}])
        (tmp_path / "metrics.jsonl").write_text(text)
        monkeypatch.setattr(shapes_gates, "_measure", lambda name, model: measured)
        check_gate(name, tmp_path, tmp_path)

    return check


def test_every_part_has_a_gate_and_no_ablation_is_a_part():
    assert set(LEAST) == set(shapes_model.PARTS)
    retrained = [name for names in ABLATIONS.values() for name in names]
    assert set(retrained) <= set(RUNS) and not set(retrained) & set(shapes_model.PARTS)


def test_ablations_have_the_budget_of_what_they_are_compared_with():
    for part, without in (
        ("stage-1", "no-reference"),
        ("stage-2", "no-reference"),
        ("refiner", "slerp"),
    ):
        whole, ablated = RUNS[f"shapes-{part}"], RUNS[f"shapes-{part}-{without}"]
        assert (ablated.steps, ablated.batch_size) == (whole.steps, whole.batch_size)
        assert ablated.optim == whole.optim and ablated.task != whole.task


def test_what_reaches_its_limits_passes(gate, capsys):
    gate("shapes-image", {"colour": 0.97, "shape": 0.9, "size": 1.0})
    assert capsys.readouterr().out == "shapes-image: colour 0.97, shape 0.9, size 1\n"


@pytest.mark.parametrize("shape", [0.31, float("nan")])
def test_a_limit_that_is_not_reached_is_named(gate, shape):
    with pytest.raises(ValueError, match=f"shape is {shape:.3g}, at least 0.9 expected"):
        gate("shapes-image", {"colour": 0.99, "shape": shape, "size": 1.0})


def test_metrics_of_a_run_are_the_mean_of_its_last_rows(gate):
    rows = [{"loss": 1.0, "accuracy": 0.0, "contrast_accuracy": 0.0}]
    rows += 5 * [{"loss": 1.0, "accuracy": 0.95, "contrast_accuracy": 0.95}]
    gate("shapes-text-encoder", {}, *rows)
    with pytest.raises(ValueError, match="accuracy is 0.76"):
        gate("shapes-text-encoder", {}, *rows[:5], rows[0])
    flow = {"loss": 1.0, "charbonnier": 0.2, "charbonnier_of_average": 0.1}
    with pytest.raises(ValueError, match="gain is 0.5, at least 1 expected"):
        gate("shapes-flow", {}, flow)


def _model_directory(directory: Path, value: float) -> Path:
    for name in ("autoencoder", "stage_1", "stage_2", "refiner"):
        save_component(directory, name, {"kernel": np.full(2, value, np.float32)})
    return directory


def test_ablations_train_on_a_copy_of_the_model_and_never_of_another(tmp_path, monkeypatch):
    trained = []

    def train(name: str, directory: Path, model: Path) -> None:
        trained.append((name, model.name))
        save_component(model, RUNS[name].task.component(), {"kernel": np.zeros(2, np.float32)})

    monkeypatch.setattr(shapes_model, "_train_part", train)
    model, runs = _model_directory(tmp_path / "model", 1.0), tmp_path / "runs"
    shapes_model.train_ablations(model, runs)
    shapes_model.train_ablations(model, runs)  # a second call resumes
    assert trained[:3] == trained[3:]
    assert trained[:3] == [(name, into) for into, names in ABLATIONS.items() for name in names]
    assert load_component(runs / "slerp", "stage_2")["kernel"][0] == 1.0
    assert load_component(runs / "slerp", "refiner")["kernel"][0] == 0.0
    assert load_component(model, "refiner")["kernel"][0] == 1.0
    other = _model_directory(tmp_path / "other", 2.0)
    with pytest.raises(ValueError, match=r"no-reference: its autoencoder is not that of .*other"):
        shapes_model.train_ablations(other, runs)
