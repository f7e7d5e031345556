"""Dependencies between the packages of the library point one way, as docs/design.md has them."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import videogen_jax

LIBRARY = Path(videogen_jax.__file__).parent
# What each package may import besides the modules at the top of the library.
MAY_IMPORT = {
    "app": {"diffusion", "media", "pipeline"},
    "diffusion": set(),
    "kernels": set(),
    "media": set(),
    "models": {"diffusion", "kernels"},  # by `config.py`, which composes both
    "data": {"media"},
    "weights": {"models", "diffusion"},  # classes of configuration alone, see below
    "pipeline": {"data", "diffusion", "media", "models", "weights"},
    "evaluation": {"data", "media", "models", "pipeline", "weights"},
    "conversion": {"diffusion", "models", "weights"},
    "training": {
        *("configs", "data", "diffusion", "evaluation", "kernels"),
        *("media", "models", "pipeline", "weights"),
    },
    "configs": {"data", "diffusion", "models", "training"},
}


def imports() -> dict[str, set[str]]:
    """By module, the modules of the library that it imports when it is imported."""
    found: dict[str, set[str]] = {}
    for path in LIBRARY.rglob("*.py"):
        parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("videogen_jax"):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    file = LIBRARY.parent / Path(*full.split("."))
                    is_module = file.with_suffix(".py").exists() or file.is_dir()
                    found[name].add(full if is_module else node.module)
    return found


def test_packages_import_what_they_may():
    packages = {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()}
    assert packages == {*MAY_IMPORT, "commands"}
    wrong = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        for own, other in [(module.split(".")[1:2], target.split(".")[1:2])]
        if own and other and own != other and own[0] in MAY_IMPORT and other[0] in packages
        if other[0] not in MAY_IMPORT[own[0]]
    ]
    assert wrong == []


def test_weights_import_no_network():
    """Only the classes that configure one."""
    names = [
        alias.name
        for path in (LIBRARY / "weights").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("videogen_jax.models")
        for alias in node.names
    ]
    assert names and all(name.endswith("Config") for name in names)


def test_no_modules_import_each_other():
    TopologicalSorter(imports()).prepare()  # raises CycleError
