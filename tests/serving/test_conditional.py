"""The signatures of a conditional sampler, its clients and its shards."""

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests.serving.conftest import answers
from tests.serving.test_signatures import ATOL, SEEDS, inputs_for


def test_conditional_sampler(classes, tmp_path):
    tuner, folder = classes
    served = answers(folder)
    c = np.array(SEEDS[:, None] % 5, "int32")
    z = tuner.latent.sample_rows(SEEDS)
    expected = tf.function(tuner.sampler(), autograph=False)([z, tf.constant(c)])
    for name, inputs in inputs_for(served, tuner.latent, 3).items():
        if name in ("serving_default", "sample"):
            found = served[name](**inputs)["samples"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL)
    layers = tf.constant(SEEDS % 4, "int32")
    some = served["sample_layers"](latent=z, layers=layers, condition=tf.constant(c))["samples"]
    by_row = tuner([z, c], layers=layers)
    np.testing.assert_allclose(some, by_row, rtol=0, atol=ATOL)
    scores = tuner.critic([expected, tf.constant(c)])[:, 0]
    found = served["score"](samples=expected, condition=tf.constant(c))["score"]
    np.testing.assert_allclose(found, scores, rtol=1e-5)
    # the data's conditions, each class as often, by the seeds alone
    drawn = served["conditions"](seed=tf.constant(SEEDS))["condition"]
    np.testing.assert_array_equal(drawn, tuner.conditions.draw(SEEDS))
    assert set(np.ravel(drawn)) == set(range(5))
    assert kgl.serving.verify(folder) == []
    # clients and bulk sampling: given, one for all, or drawn
    client = kgl.serving.connect(folder)
    np.testing.assert_allclose(client.sample(SEEDS, condition=c), expected, rtol=0, atol=ATOL)
    assert len(client.image(SEEDS[:2], condition=c[:2])) == 2
    with pytest.raises(ValueError, match="takes condition, seed. Received: seed"):
        client.sample(SEEDS)
    for source in (folder, tuner):
        (_, x), *_ = kgl.serving.SeededSampler(source).blocks(0, 64)
        given = client.sample(SEEDS[:64], condition=client.conditions(SEEDS[:64]))
        np.testing.assert_allclose(x, given, rtol=0, atol=ATOL)
        (_, x), *_ = kgl.serving.SeededSampler(source, condition=3).blocks(0, 64)
        given = client.sample(SEEDS[:64], condition=np.full((64, 1), 3))
        np.testing.assert_allclose(x, given, rtol=0, atol=ATOL)
    # as any Keras model has it
    exported = kgl.serving.export_sampler(tuner.generator, tmp_path / "plain")
    found = answers(exported)["serving_default"](latent=z, condition=tf.constant(c))["samples"]
    np.testing.assert_allclose(found, tuner.generator([z, tf.constant(c)]), rtol=0, atol=ATOL)
