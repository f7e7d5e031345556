"""Test set-up: 8 virtual CPU devices, full float32 precision, fast compilation.

Compilation takes most of the suite's time. Without most of XLA's optimizations it takes half of it,
and with the older emitters of fused operations less than a third of that. JAX 0.11 no longer has
these. Processes that tests start inherit the flag. A cache of compiled programs, which is empty at
the start, serves all processes of the suite.
"""

import gc
import importlib.util
import os
import shutil
import tempfile

import jax
import pytest

from tests.support import flax_checks, references
from videogen_jax import cli

# libtpu ends a process whose flags it does not know.
if jax.__version_info__ < (0, 11) and importlib.util.find_spec("libtpu") is None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = flags.strip()  # XLA reads it when JAX's backend starts
# pytest-xdist's processes inherit the folder of the first one, which is the one that deletes it.
CACHE = "VIDEOGEN_TESTS_CACHE"
OWN_CACHE = None if CACHE in os.environ else tempfile.mkdtemp(prefix="videogen-tests-")
jax.config.update("jax_compilation_cache_dir", os.environ.setdefault(CACHE, OWN_CACHE or ""))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
# Threads of torch that wait for a core of a test process beside them take seconds for each network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_disable_most_optimizations", True)
flax_checks.cache_shape_checks()
gc.set_threshold(100_000, 20, 20)  # Python's collections took a seventh of the time


def pytest_addoption(parser):
    parser.addoption(
        "--without-references",
        action="store_true",
        help=f"skip tests that compare with {' or '.join(references.PACKAGES)} if these are not "
        "installed; some test of each file on the command line must still pass",
    )


@pytest.fixture(scope="session", autouse=True)
def shown_log():
    """The library's log is printed as commands print it."""
    with cli.showing_log():
        yield


def pytest_configure(config):
    references.skip_if_absent = config.getoption("without_references")


def pytest_unconfigure():
    if OWN_CACHE:
        shutil.rmtree(OWN_CACHE)


def pytest_collection_modifyitems(items):
    """Run the file that takes longest first, so no process waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_run.py")


def pytest_sessionfinish(session):
    """With `--without-references`, fail if no test of a requested file has passed."""
    config = session.config
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if not references.skip_if_absent or terminal is None or session.exitstatus != 0:
        return
    reports = terminal.stats.get("passed", [])
    passed = {config.rootpath / report.nodeid.partition("::")[0] for report in reports}
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        if not any(file.is_relative_to(path) for file in passed):
            terminal.write_line(f"ERROR {argument}: none of its tests passed")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
