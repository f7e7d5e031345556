"""Parts of a network's result that do not depend on its noisy input: computed once per sample.

A denoiser is called with the same text and conditions in every step of sampling. What depends on
them alone, such as the keys and values of cross-attention, is a variable of the collection `ONCE`:

    _, computed = network.apply({"params": params}, *inputs, mutable=[ONCE])  # or `precompute`
    output = network.apply({"params": params, **computed}, *inputs)

The second call reads these variables and does not use the inputs that they were computed from.
Training, which has other conditions in every step, passes no such collection and stores none.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

ONCE = "once"


def once(module: nn.Module, name: str, compute: Callable[[], Any]) -> Any:
    """Returns a variable of a module's collection `ONCE`, or computes it where there is none.

    It is stored if the collection is mutable, but not by an initialisation, which returns
    parameters alone.

    Args:
        module: the module whose `__call__` is running.
        name: the variable's name in that module.
        compute: returns the value, an array or a tuple of arrays; it may call the module's layers.
    """
    if module.has_variable(ONCE, name):
        return module.get_variable(ONCE, name)
    value = compute()
    if module.is_mutable_collection(ONCE) and not module.is_initializing():
        module.put_variable(ONCE, name, value)
    return value
