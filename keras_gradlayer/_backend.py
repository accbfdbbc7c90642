"""The backend of Keras: trainers and samplers need TensorFlow, gradient layers run on all three."""

import keras
import numpy as np


def name() -> str:
    """The backend that Keras computes with, such as "tensorflow"."""
    return keras.backend.backend()


def is_tensorflow() -> bool:
    """Whether Keras computes with TensorFlow."""
    return name() == "tensorflow"


def need_tensorflow(what: str) -> None:
    """Check that Keras computes with TensorFlow."""
    if not is_tensorflow():
        raise RuntimeError(
            f"{what} needs Keras on the TensorFlow backend; GradientLayer and GradientLayerStack "
            f"run on others, too. Received: the {name()!r} backend. Set KERAS_BACKEND=tensorflow "
            "before Python starts."
        )


def to_numpy(x) -> np.ndarray:
    """A tensor or variable of any backend as an array."""
    return np.asarray(x) if is_tensorflow() else keras.ops.convert_to_numpy(x)
