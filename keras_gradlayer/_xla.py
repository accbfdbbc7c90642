"""Whether a training step is faster compiled by XLA."""

import keras
import tensorflow as tf

_CONVOLUTIONS = tuple(
    getattr(keras.layers, f"{kind}{d}D{suffix}")
    for kind, suffix, dims in (
        ("Conv", "", (1, 2, 3)),
        ("Conv", "Transpose", (1, 2, 3)),
        ("DepthwiseConv", "", (1, 2)),
        ("SeparableConv", "", (1, 2)),
    )
    for d in dims
)


def resolve_jit(jit_compile, *models):
    """Turn "auto" into a yes or no.

    On a CPU, XLA runs a small fully connected critic several times faster than graph mode, and a
    convolutional one several times slower. On other devices it is used wherever Keras can.

    Raises:
        ValueError: if `jit_compile` is not a bool or "auto".
    """
    if jit_compile not in (True, False, "auto"):
        raise ValueError(
            f"`jit_compile` must be True, False or 'auto'. Received: jit_compile={jit_compile!r}"
        )
    if jit_compile != "auto":
        return jit_compile
    if any(d.device_type != "CPU" for d in tf.config.list_logical_devices()):
        return True
    layers = [layer for m in models for layer in m._flatten_layers()]
    return not any(isinstance(layer, _CONVOLUTIONS) for layer in layers)
