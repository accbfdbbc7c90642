import numpy as np
import pytest

from keras_gradlayer import objectives
from tests import contract


@pytest.mark.parametrize("name", ["wasserstein"])
def test_contract(name):
    contract.check_objective(objectives.get(name))


def test_wasserstein():
    objective = objectives.get("wasserstein")
    assert objectives.get(objective) is objective
    real, fake = np.array([1.0, 3.0], "float32"), np.array([0.5, -1.5], "float32")
    assert float(objective.value(real, fake)) == 2.5
    assert float(objective.generator_loss(fake)) == 0.5


def test_unknown():
    with pytest.raises(ValueError, match="one of 'wasserstein' or an Objective. Received.*'wgan'"):
        objectives.get("wgan")
