"""Tables of both towers of CLIP: those of transformers' `CLIPModel` and of OpenAI's own file."""

import dataclasses

from videogen_jax.weights.rules import EMBEDDING, VECTOR, Rule, Table
from videogen_jax.weights.tables.compvis import OPEN_CLIP
from videogen_jax.weights.tables.layers import conv, linear, norm
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER

_VISION, _TEXT = "vision_model", "text_model"


def _within(rules: tuple[Rule, ...], source: str, ours: str) -> tuple[Rule, ...]:
    """Returns rules of a network for when it is a part of another."""
    return tuple(
        dataclasses.replace(rule, source=source + rule.source, target=f"{ours}/{rule.target}")
        for rule in rules
    )


_CLIP_LAYERS = tuple(rule for rule in TEXT_ENCODER.rules if rule.source.startswith("encoder."))
_OPENAI_LAYERS = tuple(rule for rule in OPEN_CLIP.rules if rule.source.startswith("transformer."))
_PATCHES = f"{_VISION}.embeddings.patch_embedding"

CLIP_TRANSFORMERS = Table(
    rules=(
        *_within(TEXT_ENCODER.rules, f"{_TEXT}.", _TEXT),
        *linear("text_projection")[:1],
        *conv(_PATCHES)[:1],
        Rule(
            f"{_VISION}.embeddings.class_embedding", f"{_VISION}/embeddings/class_embedding", VECTOR
        ),
        Rule(
            f"{_VISION}.embeddings.position_embedding.weight",
            f"{_VISION}/embeddings/position_embedding",
            EMBEDDING,
        ),
        *norm(f"{_VISION}.pre_layrnorm"),
        *_within(_CLIP_LAYERS, f"{_VISION}.", _VISION),
        *norm(f"{_VISION}.post_layernorm"),
        *linear("visual_projection")[:1],
    ),
    ignored=(
        "logit_scale",
        f"{_TEXT}.embeddings.position_ids",
        f"{_VISION}.embeddings.position_ids",
    ),
)

CLIP_OPENAI = Table(
    rules=(
        *_within(OPEN_CLIP.rules, "", _TEXT),
        Rule("text_projection", "text_projection/kernel", EMBEDDING),
        *conv("visual.conv1", _PATCHES)[:1],
        Rule("visual.class_embedding", f"{_VISION}/embeddings/class_embedding", VECTOR),
        Rule("visual.positional_embedding", f"{_VISION}/embeddings/position_embedding", EMBEDDING),
        *norm("visual.ln_pre", f"{_VISION}.pre_layrnorm"),
        *_within(_OPENAI_LAYERS, "visual.", _VISION),
        *norm("visual.ln_post", f"{_VISION}.post_layernorm"),
        Rule("visual.proj", "visual_projection/kernel", EMBEDDING),
    ),
    # The last three are sizes.
    ignored=("logit_scale", "attn_mask", "input_resolution", "context_length", "vocab_size"),
)
