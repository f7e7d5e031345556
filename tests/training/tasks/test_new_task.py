"""A new task needs only one file: a toy task trains, resumes, exports, is planned and cached."""

import ast
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import videogen_jax
from tests.support import cached_training
from tests.support.mean_task import RESOLUTION, run_config
from videogen_jax.training.latents.making import CacheOptions, make_cache
from videogen_jax.training.planning.plan import plan_step
from videogen_jax.training.planning.topology import Topology
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.export import export_run
from videogen_jax.training.runs.train import train_run
from videogen_jax.training.task import TaskConfig
from videogen_jax.training.tasks import TASKS
from videogen_jax.weights.config_file import load_config
from videogen_jax.weights.model_dir import load_component

LIBRARY = Path(videogen_jax.__file__).parent


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached_training.write_model(tmp_path_factory.mktemp("model"))


def test_it_trains_resumes_and_exports(model_directory: Path, tmp_path: Path):
    config, run_dir, one = run_config(), tmp_path / "run", jax.devices()[:1]
    uninterrupted = train_run(config, run_dir, model_directory, one)
    assert (uninterrupted.params["mean"] != 0).all()
    assert (run_dir / "samples" / "step_00000004.png").exists()
    shutil.rmtree(run_dir / "checkpoints" / "4")
    begun = load_config(run_dir / "config.json", RunConfig)
    assert begun == config
    resumed = train_run(begun, run_dir, model_directory, one)
    jax.tree.map(np.testing.assert_array_equal, uninterrupted, resumed)
    model = tmp_path / "model"
    shutil.copytree(model_directory, model)
    assert export_run(run_dir, model) == ["mean"]
    np.testing.assert_array_equal(load_component(model, "mean")["mean"], resumed.params["mean"])


def test_it_trains_from_a_latent_cache_as_from_pixels(model_directory: Path, tmp_path: Path):
    options = CacheOptions(num_frames=2, resolution=RESOLUTION, examples=16)
    make_cache("shapes", model_directory, tmp_path / "cache", options, jax.devices()[:1])
    states = [
        train_run(config, tmp_path / f"run_{i}", model_directory, jax.devices()[:1])
        for i, config in enumerate([run_config(), run_config(latent_cache=str(tmp_path / "cache"))])
    ]
    pixels, cached = (np.asarray(state.params["mean"]) for state in states)
    np.testing.assert_allclose(cached, pixels, atol=1e-5)  # encoded in different batches


def test_it_is_planned():
    plan = plan_step(run_config(), Topology("cpu", (8,)))
    assert plan.fits and plan.arguments["parameters"] == 4 * 4


def test_every_task_of_the_library_is_in_the_table():
    library = [
        task for task in TaskConfig.__subclasses__() if task.__module__.startswith("videogen_jax.")
    ]
    assert set(library) == set(TASKS) and len(TASKS) == len(set(TASKS))


def test_nothing_outside_tasks_asks_which_task_it_has():
    """No `isinstance`, `match` or comparison refers to a task or its configuration."""
    names = {task.__name__ for task in TASKS} | {
        task.__name__.removesuffix("Config") for task in TASKS
    }
    found = {
        str(path.relative_to(LIBRARY)): branches
        for path in LIBRARY.rglob("*.py")
        if "tasks" not in path.relative_to(LIBRARY).parts
        and (branches := branches_on(names, path.read_text()))
    }
    assert found == {}
    assert branches_on(names, "match x:\n case CascadeTaskConfig():\n  pass") == 1
    assert branches_on(names, "isinstance(x, (FlowTask, int))") == 1
    assert branches_on(names, "type(x) is RefinerTaskConfig") == 1


def branches_on(names: set[str], source: str) -> int:
    """Counts checks of types that refer to one of `names`."""

    def named(*nodes: ast.AST) -> bool:
        parts = [part for node in nodes for part in ast.walk(node)]
        return any(
            getattr(part, "id", None) in names or getattr(part, "attr", None) in names
            for part in parts
        )

    count = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "isinstance",
            "issubclass",
        ):
            count += named(*node.args)
        elif isinstance(node, ast.MatchClass):
            count += named(node.cls)
        elif isinstance(node, ast.Compare):
            count += named(node.left, *node.comparators)
    return count
