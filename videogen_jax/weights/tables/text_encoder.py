"""Table of transformers' `CLIPTextModel`.

Files of transformers before 5 have the prefix `text_model.` and, before 4.31, a constant buffer
`position_ids` of 0, 1, 2, ...
"""

from videogen_jax.weights.rules import Table
from videogen_jax.weights.tables.layers import embedding, linear, norm

_LAYER = "encoder.layers.{i}"

TEXT_ENCODER = Table(
    rules=(
        *embedding("embeddings.token_embedding"),
        *embedding("embeddings.position_embedding"),
        *norm(f"{_LAYER}.layer_norm1"),
        *linear(f"{_LAYER}.self_attn.q_proj"),
        *linear(f"{_LAYER}.self_attn.k_proj"),
        *linear(f"{_LAYER}.self_attn.v_proj"),
        *linear(f"{_LAYER}.self_attn.out_proj"),
        *norm(f"{_LAYER}.layer_norm2"),
        *linear(f"{_LAYER}.mlp.fc1"),
        *linear(f"{_LAYER}.mlp.fc2"),
        *norm("final_layer_norm"),
    ),
    aliases=(("text_model.", ""),),
    # The last two are of CLIP's loss, which compares texts with images.
    ignored=("embeddings.position_ids", "text_projection.weight", "logit_scale"),
)
