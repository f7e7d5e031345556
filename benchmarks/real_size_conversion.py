"""Converts Stable Diffusion at its real size: `python -m benchmarks.real_size_conversion sd1.5 DIR`

Weights are random; nothing is downloaded. Measures time and memory of the converter for each form
of a model, and compares every network with torch at 64×64 latents. Each step runs in its own
process.

DIR must not exist. It needs 14 GB of disk and is removed at the end.
"""

import multiprocessing
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

GIB = 2**30
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Measured:
    """Time and memory of a process.

    Attributes:
        seconds: Time from start to exit.
        peak: Peak resident bytes, including mapped files and libraries (VmHWM).
        anonymous: The same without file pages, which the kernel can drop (RssAnon, sampled).
    """

    seconds: float
    peak: int
    anonymous: int

    def row(self, name: str, limit: int) -> str:
        sizes = (self.peak / GIB, self.anonymous / GIB, limit / GIB)
        return "| {} | {:.0f} | {:.2f} | {:.2f} | {:.2f} |".format(name, self.seconds, *sizes)


def main(family: Literal["sd1.5", "sd2.1"], directory: Path, /) -> None:
    """Runs all steps and prints two tables.

    Args:
        family: The networks to convert.
        directory: Working directory, which is created and removed.
    """
    directory.mkdir(parents=True)
    try:
        _run_all(family, directory)
    finally:
        shutil.rmtree(directory)


def _run_all(family: str, directory: Path) -> None:
    source, model, reference = directory / "source", directory / "model", directory / "torch.npz"
    _in_process(_write_source, family, source, reference)
    folder = measure("convert.stable_diffusion", source, model)
    largest = max(_float32_bytes(path) for path in model.glob("*.safetensors"))
    limit = largest + GIB
    rows = [folder.row("diffusers folder, safetensors", limit)]
    back = measure("convert.to_diffusers", model, directory / "back")
    rows.append(back.row("back to a diffusers folder", limit))
    _same_bytes(source, directory / "back")
    shutil.rmtree(directory / "back")

    print(f"\n{family}, torch against JAX, float32, {_parameters(model):,} parameters\n")
    print(
        "| output | largest difference | relative to the largest value |\n|---|---|---|", flush=True
    )
    _in_process(_compare, model, reference)

    for form in ("bin", "safetensors", "ckpt"):
        path = directory / ("pickled" if form == "bin" else f"checkpoint.{form}")
        _in_process(_write_form, source, model, path)
        options = [] if form == "bin" else ["--tokenizer", source / "tokenizer"]
        again = directory / "again"
        measured = measure("convert.stable_diffusion", path, again, *options)
        name = "diffusers folder, .bin" if form == "bin" else f"single file, .{form}"
        rows.append(measured.row(name, limit))
        if (again / "manifest.json").read_text() != (model / "manifest.json").read_text():
            raise ValueError(f"{name} gives other weights than the folder")
        for old in (again, path):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    print(f"\n{family}, the largest network in float32 has {largest / GIB:.2f} GiB\n")
    print("| process | seconds | peak GiB | without file pages | limit |\n|---|---|---|---|---|")
    print("\n".join(rows))


def measure(module: str, *arguments: Any) -> Measured:
    """Runs a command and measures its time and memory.

    Raises:
        ValueError: The command fails.
    """
    start, peak, anonymous = time.perf_counter(), 0, 0
    process = subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)])
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        peak = max(peak, _bytes(lines.get("VmHWM")))  # an exiting process has none
        anonymous = max(anonymous, _bytes(lines.get("RssAnon")))
        time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise ValueError(f"{module} failed with exit code {process.returncode}")
    return Measured(time.perf_counter() - start, peak, anonymous)


def _bytes(kilobytes: str | None) -> int:
    return 1024 * int(kilobytes.split()[0]) if kilobytes else 0


def _in_process(step: Any, *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=step, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise ValueError(f"{step.__name__} failed with exit code {process.exitcode}")


def _float32_bytes(path: Path) -> int:
    from videogen_jax.weights.files import SafeTensors

    tensors = SafeTensors(path)
    return 4 * sum(_size(tensors.shape(name)) for name in tensors)


def _parameters(model: Path) -> int:
    return sum(_float32_bytes(path) for path in model.glob("*.safetensors")) // 4


def _size(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product


def _write_source(family: str, source: Path, reference: Path) -> None:
    from benchmarks.real_size_torch import write_source

    write_source(family, source, reference)


def _write_form(source: Path, model: Path, path: Path) -> None:
    from benchmarks.real_size_forms import write_pickles, write_single_file

    if path.suffix:
        write_single_file(model, path)
    else:
        write_pickles(source, path)


def _compare(model: Path, reference: Path) -> None:
    from benchmarks.real_size_forms import compare

    compare(model, reference)


def _same_bytes(source: Path, back: Path) -> None:
    """Raises a ValueError unless an exported folder has the weights that were imported."""
    from benchmarks.real_size_forms import differing_weights

    for file in source.glob("*/*.safetensors"):
        if names := differing_weights(file, back / file.relative_to(source)):
            raise ValueError(f"the export differs in {file}: {', '.join(names)}")


if __name__ == "__main__":
    from videogen_jax import cli

    cli.command(main, "python -m benchmarks.real_size_conversion")
