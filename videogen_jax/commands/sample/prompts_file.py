"""`videogen sample --prompts-file F --out-dir D`: the videos of a file of prompts."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import jax
import tyro
from jax.sharding import Mesh

from videogen_jax import VideoGen
from videogen_jax.config import ModelConfig
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.media.output import check_format
from videogen_jax.media.video_folder import VideoFolder
from videogen_jax.models.components import require_components
from videogen_jax.pipeline.prompt_files import read_prompts, sample_prompts
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import make_request
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.weights.manifest import MANIFEST, describe
from videogen_jax.weights.model_dir import list_components

PromptsFile: TypeAlias = Annotated[
    Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: the prompts above)")
]
VideoFormat: TypeAlias = Literal["mp4", "gif", "webp"]


@dataclasses.dataclass(frozen=True)
class PromptsJob:
    """The arguments of a command that concern its file of prompts."""

    prompts_file: Path
    out_dir: Path
    suffix: str
    batch_size: int
    reference: Path | None
    options: VideoOptions
    mesh: tuple[int, int, int]

    def run(
        self,
        directory: Path,
        config: ModelConfig,
        load: Callable[..., VideoGen],
        dtype: str,
    ) -> None:
        """Makes the videos that the folder does not have.

        Args:
            directory: the model's.
            config: the model's.
            load: loads the model, with a `mesh`.
            dtype: type of its parameters.
        """
        if not isinstance(self.options.negative_prompt, str):
            raise UserError("negative_prompt: expected one text for all lines of the prompts")
        lines = read_prompts(self.prompts_file, self._seed(), self.options.negative_prompt)
        request = make_request(config, [line.prompt for line in lines], self.options)
        needed = request.components(self.reference is None)
        require_components(list_components(directory), needed, directory)
        check_format(Path(f"x{self.suffix}"), request.final_fps)
        folder = VideoFolder(self.out_dir, self._common(directory, dtype))
        together = -1 not in self.mesh and math.prod(self.mesh) > jax.local_device_count()
        made = sample_prompts(
            lambda: load(mesh=mesh_of(self.mesh, local=not together)),
            lines,
            folder,
            self.options,
            batch_size=self.batch_size,
            suffix=self.suffix,
            reference=self.reference,
            together=together,
            progress=is_main(),
        )
        for entry in made:
            print(f"{self.out_dir / entry['file']}: {entry['prompt']}", flush=True)
        print(f"{self.out_dir} has {len(folder.entries())} of {len(lines)} videos")

    def _seed(self) -> int:
        if not isinstance(self.options.seed, int):
            raise UserError("seed: expected one number, that of the first line of the prompts")
        return self.options.seed

    def _common(self, directory: Path, dtype: str) -> dict[str, Any]:
        """Returns what all videos of the folder have in common."""
        options = self.options.settings()
        del options["seed"], options["negative_prompt"]  # of each line, in the manifest
        if self.reference is not None and not self.reference.is_file():
            raise MissingFile(f"no image file {self.reference}")
        reference = None if self.reference is None else describe(self.reference).sha256
        manifest = describe(directory / MANIFEST).sha256
        return {"model_sha256": manifest, "dtype": dtype, "reference_sha256": reference, **options}


def mesh_of(sizes: tuple[int, int, int], *, local: bool = False) -> Mesh:
    """Returns the mesh of these devices per axis; of this process's devices alone if `local`.

    Raises:
        UserError: there are fewer devices, or several processes of which some would have none.
    """
    devices = jax.local_devices() if local else jax.devices()
    if -1 not in sizes and (local or jax.process_count() == 1):
        devices = devices[: math.prod(sizes)]
    return make_mesh(MeshConfig(*sizes), devices)
