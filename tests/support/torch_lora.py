"""LoRA layers in torch models, their conversion, and LoRA files in every style.

The reference does not merge weights. It adds the output of down and up to the output of each layer,
as a LoRA is defined.
"""

import copy
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional

from tests.weights.stable_diffusion.test_single_file import Case
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import ConversionOptions, convert_stable_diffusion
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.weights.model_dir import load_component
from videogen_jax.weights.rules import export_weights
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER
from videogen_jax.weights.tables.unet import UNET

TOLERANCE = 1e-4
RANK = 3
ALPHA, OTHER_ALPHA = 1.5, 6.0
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0."
LAYERS = {
    "image_unet": (
        "conv_in",
        "time_embedding.linear_1",
        "down_blocks.0.resnets.0.conv1",
        "down_blocks.0.resnets.1.time_emb_proj",
        "down_blocks.0.attentions.0.proj_in",
        f"{BLOCK}attn1.to_q",
        f"{BLOCK}attn1.to_v",
        f"{BLOCK}attn2.to_k",
        f"{BLOCK}attn2.to_out.0",
        f"{BLOCK}ff.net.0.proj",
        "down_blocks.0.downsamplers.0.conv",
        "mid_block.attentions.0.proj_out",
        "up_blocks.0.resnets.0.conv_shortcut",
        "up_blocks.1.attentions.2.transformer_blocks.0.ff.net.2",
    ),
    "text_encoder": (
        "encoder.layers.0.self_attn.q_proj",
        "encoder.layers.1.self_attn.k_proj",
        "encoder.layers.0.self_attn.v_proj",
        "encoder.layers.1.self_attn.out_proj",
        "encoder.layers.0.mlp.fc1",
        "encoder.layers.1.mlp.fc2",
    ),
}


@dataclass(frozen=True)
class Pair:
    """The weights of a LoRA for one layer, which adds factor · up(mid(down(x))) to its output."""

    down: np.ndarray
    up: np.ndarray
    mid: np.ndarray | None = None
    alpha: float | None = None

    def output(self, layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        down, up = torch.from_numpy(self.down), torch.from_numpy(self.up)
        factor = 1.0 if self.alpha is None else self.alpha / len(self.down)
        if isinstance(layer, torch.nn.Linear):
            return factor * functional.linear(functional.linear(x, down), up)
        assert isinstance(layer, torch.nn.Conv2d)
        size = {"stride": layer.stride, "padding": layer.padding}
        if self.mid is None:
            hidden = functional.conv2d(x, down, **size)
        else:
            hidden = functional.conv2d(
                functional.conv2d(x, down), torch.from_numpy(self.mid), **size
            )
        return factor * functional.conv2d(hidden, up)


Pairs = dict[str, dict[str, Pair]]


class Models:
    """Torch models with LoRA layers, and the networks converted with them.

    The converted networks of Stable Diffusion 1 run in JAX, compiled once. The weights of the
    others, whose 23 layers of text compile slowly, are put back into torch models; that these equal
    our networks is tested in `tests/weights/stable_diffusion/test_parity.py`.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.tokens_BT = np.random.default_rng(1).integers(0, 20, (2, 7)).astype(np.int32)
        self.noise_BHWC = random(2, 8, 8, 4)
        self.text_BTD = random(2, 5, 64)
        self.torch = {"image_unet": case.models.unet, "text_encoder": case.models.text_encoder}
        for model in self.torch.values():
            model.eval()
        self._text = jax.jit(TextEncoder(case.config.text_encoder).apply)
        self._unet = jax.jit(SpaceTimeUNet(case.config.image.unet).apply)

    @property
    def source(self) -> Path:
        return self.case.root / "source"

    def pairs(self, seed: int, alpha: float | None, other_alpha: float | None = None) -> Pairs:
        """Returns pairs for all `LAYERS`; the first of each network has `other_alpha`, if set."""
        rng = np.random.default_rng(seed)
        pairs: Pairs = {}
        for component, names in LAYERS.items():
            for i, name in enumerate(names):
                shape = self.torch[component].get_submodule(name).weight.shape
                down = rng.standard_normal((RANK, *shape[1:]), np.float32) * 0.3
                up = rng.standard_normal((shape[0], RANK, *(1 for _ in shape[2:])), np.float32)
                own = other_alpha if other_alpha and i == 0 else alpha
                pairs.setdefault(component, {})[name] = Pair(down, 0.3 * up, alpha=own)
        return pairs

    def theirs(self, component: str, *loras: tuple[Pairs, float]) -> np.ndarray:
        model: Any = self.torch[component]
        with ExitStack() as stack:
            for pairs, scale in loras:
                for name, pair in pairs.get(component, {}).items():
                    stack.enter_context(_added(model.get_submodule(name), pair, scale))
            return self._run(component, model)

    def _run(self, component: str, model: Any) -> np.ndarray:
        with torch.no_grad():
            if component == "text_encoder":
                return model(torch.from_numpy(self.tokens_BT).long()).last_hidden_state.numpy()
            x_BCHW = torch.from_numpy(self.noise_BHWC.transpose(0, 3, 1, 2).copy())
            text_BTD = torch.from_numpy(self.text_BTD)
            out_BCHW = model(x_BCHW, torch.tensor([3, 951]), text_BTD).sample
            return out_BCHW.numpy().transpose(0, 2, 3, 1)

    def ours(self, component: str, model_dir: Path) -> np.ndarray:
        if self.case.second:
            return self._run(component, self._put_back(component, model_dir))
        variables = {"params": load_component(model_dir, component)}
        if component == "text_encoder":
            return np.asarray(self._text(variables, self.tokens_BT).states_BTD)
        x_BFHWC, timesteps_B = self.noise_BHWC[:, None], np.array([3, 951])
        return np.asarray(self._unet(variables, x_BFHWC, timesteps_B, self.text_BTD)[:, 0])

    def _put_back(self, component: str, model_dir: Path) -> torch.nn.Module:
        """Returns a torch model with the weights of a converted component."""
        table = {"image_unet": UNET, "text_encoder": TEXT_ENCODER}[component]
        weights = export_weights(table, load_component(model_dir, component, dtype=None))
        model = copy.deepcopy(self.torch[component])
        model.load_state_dict({name: torch.from_numpy(x) for name, x in weights.items()})
        return model

    def assert_equal_torch(self, component: str, model_dir: Path, *loras: tuple[Pairs, float]):
        theirs = self.theirs(component, *loras)
        assert np.abs(theirs - self.theirs(component)).max() > 100 * TOLERANCE
        ours = self.ours(component, model_dir)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


@contextmanager
def _added(layer: torch.nn.Module, pair: Pair, scale: float):
    def hook(layer, inputs, output):
        return output + scale * pair.output(layer, inputs[0])

    handle = layer.register_forward_hook(hook)
    yield
    handle.remove()


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def peft(pairs: Pairs, path: Path) -> None:
    """Writes a file as diffusers 0.42 does: `save_lora_weights` with the adapters' metadata."""
    weights, fields = {}, {}
    for component, prefix in [("image_unet", "unet"), ("text_encoder", "text_encoder")]:
        alphas = {name: pair.alpha for name, pair in pairs[component].items()}
        most = next(reversed(alphas.values()))
        if most is not None:
            fields |= {
                f"{prefix}.lora_alpha": most,
                f"{prefix}.r": RANK,
                f"{prefix}.use_dora": False,
            }
            others = {name: alpha for name, alpha in alphas.items() if alpha != most}
            fields[f"{prefix}.alpha_pattern"] = others
        for name, pair in pairs[component].items():
            weights[f"{prefix}.{name}.lora_A.weight"] = pair.down
            weights[f"{prefix}.{name}.lora_B.weight"] = pair.up
    save_file(weights, path, {"format": "pt", "lora_adapter_metadata": json.dumps(fields)})


def old_diffusers(pairs: Pairs, path: Path) -> None:
    """Writes a file as diffusers did before PEFT: attention processors and patched layers."""
    weights = {}
    for name, pair in pairs["image_unet"].items():
        middle = f"unet.{name}.lora"
        if "attn1" in name:
            block, layer = name.rsplit(".", 1)
            middle = f"unet.{block}.processor.{layer}_lora"
        elif "attn2.to_out" in name:
            middle = f"unet.{name.removesuffix('.to_out.0')}.processor.to_out_lora"
        weights |= {f"{middle}.down.weight": pair.down, f"{middle}.up.weight": pair.up}
    for name, pair in pairs["text_encoder"].items():
        middle = f"text_encoder.text_model.{name}.lora_linear_layer"
        if "layers.1.self_attn" in name:
            layer = name.replace("k_proj", "to_k").replace("out_proj", "to_out")
            middle = f"text_encoder.text_model.{layer}_lora"
        weights |= {f"{middle}.down.weight": pair.down, f"{middle}.up.weight": pair.up}
    save_file(weights, path)


def kohya(pairs: Pairs, path: Path) -> None:
    save_file(kohya_weights(pairs), path)


def kohya_weights(pairs: Pairs) -> dict[str, np.ndarray]:
    weights = {}
    for component, prefix in [
        ("image_unet", "lora_unet_"),
        ("text_encoder", "lora_te_text_model_"),
    ]:
        for name, pair in pairs.get(component, {}).items():
            layer = prefix + name.replace(".", "_")
            weights |= {f"{layer}.lora_down.weight": pair.down, f"{layer}.lora_up.weight": pair.up}
            if pair.mid is not None:
                weights[f"{layer}.lora_mid.weight"] = pair.mid
            if pair.alpha is not None:
                weights[f"{layer}.alpha"] = np.asarray(pair.alpha, np.float32)
    return weights


def convert(source: Path, model_dir: Path, **options) -> Path:
    convert_stable_diffusion(source, model_dir, PAPER, options=ConversionOptions(**options))
    return model_dir
