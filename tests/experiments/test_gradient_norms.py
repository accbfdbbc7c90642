"""The claim of Gulrajani et al., Figure 1(b): clipping makes gradients explode or vanish."""

import numpy as np
import pytest

from keras_gradlayer.experiments import gradient_norms


@pytest.mark.parametrize(
    ("method", "least", "most"),
    [("clipped at 0.1", 1.3, 20), ("clipped at 0.01", 0.01, 0.2), ("gradient penalty", 0.8, 1.25)],
)
def test_the_factor_of_a_layer(method, least, most):
    """A gradient grows or fades by it from each of the twelve layers to the one below."""
    norms = gradient_norms.gradient_norms(gradient_norms.train_critic(method, 300))
    factor = (norms[0] / norms[-1]) ** (1 / (gradient_norms.DEPTH - 1))
    assert least < factor < most
    if method != "gradient penalty":  # at each layer
        assert (np.diff(np.log(norms)) * (1 - factor) > 0).all()
