import numpy as np

import keras_gradlayer as kgl
from tests import oracles


def test_critic():
    critic = kgl.models.mlp_critic((2,), units=7, depth=3)
    assert [w.shape for w in critic.get_weights()[::2]] == [(2, 7), (7, 7), (7, 7), (7, 1)]
    assert critic(oracles.points(4)).shape == (4, 1)
    assert kgl.models.mlp_critic((4, 4, 1))(np.zeros((2, 4, 4, 1))).shape == (2, 1)
    critic = kgl.models.mlp_critic((2,), units=7, depth=2, dropout=0.3)
    assert [layer.rate for layer in critic.layers if hasattr(layer, "rate")] == [0.3, 0.3]
