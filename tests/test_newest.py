"""The tests of `make test-newest`, and how they run without torch and diffusers."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest
from tests.support import references
from tests.support.references import PACKAGES, import_reference

ROOT = Path(__file__).parent.parent
LIST = ROOT / "tests" / "newest.txt"
LINES = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
FILES = [line.partition("::")[0] for line in LINES if not line.startswith("--deselect=")]
LEFT_OUT = [line.removeprefix("--deselect=") for line in LINES if line.startswith("--deselect=")]


def imported(path: Path) -> set[str]:
    """Returns the modules that a file imports when it is imported."""
    modules = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Import():
                modules |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module)):
                modules |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return modules


def needs_references(path: Path) -> bool:
    modules = imported(path)
    helpers = (ROOT / f"{name.replace('.', '/')}.py" for name in modules if "tests." in name)
    return any(name.partition(".")[0] in PACKAGES for name in modules) or any(
        needs_references(helper) for helper in helpers if helper.exists()
    )


def test_the_listed_files_can_be_imported_without_torch():
    assert needs_references(ROOT / "tests/support/torch_ifrnet.py")
    assert len(FILES) == len(set(FILES)) > 20
    assert [file for file in FILES if needs_references(ROOT / file)] == []


def test_the_tests_left_out_exist():
    for test in LEFT_OUT:
        file, _, name = test.partition("::")
        assert file in FILES
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), test


@pytest.mark.parametrize("module", ["torch.nn.functional", "tests.support.torch_ifrnet"])
def test_an_absent_package_is_an_error_or_skips_its_tests(module, monkeypatch):
    for name in ("torch", "torch.nn", module):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(references, "skip_if_absent", False)
    with pytest.raises(ModuleNotFoundError, match="torch"):
        import_reference(module)
    monkeypatch.setattr(references, "skip_if_absent", True)
    absent = import_reference(module)
    with pytest.raises(pytest.skip.Exception, match="torch is not installed"):
        absent.interpolate


def test_other_packages_are_never_skipped(monkeypatch):
    monkeypatch.setattr(references, "skip_if_absent", True)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import_reference("no_such_package")


@pytest.mark.parametrize(
    ("option", "argument", "status"),
    [
        (True, "tests/a/test_a.py", 0),
        (True, "tests/a", 0),
        (True, "tests/test_b.py", 1),
        (False, "tests/test_b.py", 0),
    ],
)
def test_a_file_whose_tests_are_all_skipped_is_an_error(option, argument, status, monkeypatch):
    monkeypatch.setattr(references, "skip_if_absent", option)
    lines = []
    passed = [SimpleNamespace(nodeid="tests/a/test_a.py::test_it[1]")]
    terminal = SimpleNamespace(stats={"passed": passed}, write_line=lines.append)
    config = SimpleNamespace(
        args=[argument],
        rootpath=ROOT,
        invocation_params=SimpleNamespace(dir=ROOT),
        pluginmanager=SimpleNamespace(get_plugin={"terminalreporter": terminal}.get),
    )
    session = SimpleNamespace(config=config, exitstatus=0)
    conftest.pytest_sessionfinish(session)
    assert session.exitstatus == status
    assert lines == [f"ERROR {argument}: none of its tests passed"] * status
