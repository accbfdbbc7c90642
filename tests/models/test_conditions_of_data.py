"""The conditions that samples are drawn for: those of the data, by the latent."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer._conditions import draw
from keras_gradlayer.models.conditions import Conditions
from keras_gradlayer.trainers._data import first_conditions
from tests.models.test_conditions import data, fit, make, parts


def test_the_distribution_of_conditions_is_that_of_the_data(tmp_path):
    conditions = Conditions((1,), "int32")
    conditions.learn(np.array([[7]] * 1 + [[3]] * 3))
    assert conditions.known == 2
    drawn = np.ravel(conditions.draw(np.arange(4000)))
    # the share of 3 is 0.75, with a standard deviation of 0.007
    assert np.mean(drawn == 3) == pytest.approx(0.75, abs=0.03)
    assert set(drawn) == {3, 7}
    # by its own seed, whatever else is drawn, in a compiled function too
    program = tf.function(conditions.draw, jit_compile=True)
    np.testing.assert_array_equal(program(tf.range(30, dtype="int64"))[20:], drawn[20:30, None])
    images = np.random.default_rng(0).normal(size=(5000, 2, 2))
    many = Conditions((2, 2), "float32")
    many.learn(images)
    assert many.known == 4096
    assert len({tuple(np.ravel(x)) for x in many.draw(range(100)).numpy()}) > 90


def test_predict_draws_conditions_row_by_row():
    """A latent's condition follows from the latent alone, and the shares are those of the data."""
    keras.utils.set_random_seed(0)
    gan, tuner = kgl.GAN(*parts()), make()
    gan.compile()
    x, labels = data(80)
    for model in (gan, tuner):
        model.fit(x, labels % 2, verbose=0, callbacks=[kgl.callbacks.GradientPenalty()])
    z = np.array(gan.latent.sample(40, seed=0))
    order = np.random.default_rng(0).permutation(40)
    for model in (gan, tuner, tuner.sampler()):
        c = model.conditions.of(z)
        expected = np.array(model([z, c]))
        by_batches = (z, None), (z, 1), (z, 7)
        for latents, size in by_batches:
            found = model.predict(latents, batch_size=size, verbose=0)
            np.testing.assert_allclose(found, expected, atol=1e-6)
        shuffled = model.predict(z[order], verbose=0)
        np.testing.assert_allclose(shuffled, expected[order], atol=1e-6)
        np.testing.assert_allclose(model(z.astype("float64")), expected, atol=1e-6)
    model = tuner.sampler()
    model.compile(run_eagerly=True)
    np.testing.assert_allclose(model.predict(z, batch_size=7, verbose=0), expected, atol=1e-6)
    # one draw a latent, by each of its entries and their order
    many = np.array(gan.latent.sample(4000, seed=1))
    drawn = np.ravel(gan.conditions.of(many))
    share = np.mean(labels % 2)  # with a standard deviation of 0.008
    assert np.mean(drawn) == pytest.approx(share, abs=0.03)
    for other in (many[:, ::-1], many * [1, 1, 1, -1]):
        assert np.mean(drawn == np.ravel(gan.conditions.of(other))) == pytest.approx(
            share**2 + (1 - share) ** 2, abs=0.03
        )


def test_a_dataset_is_not_read_whole_for_its_conditions():
    """400 batches of 100: the first 16,384 rows tell the shares, and some more are prefetched."""
    x, read = np.zeros((100, 2), "float32"), []

    def batches():
        for i in range(400):
            read.append(i)
            yield x, np.full((100, 1), i % 4 == 0)

    specs = tf.TensorSpec((100, 2)), tf.TensorSpec((100, 1), "int32")
    rows = tf.data.Dataset.from_generator(batches, output_signature=specs)
    tuner = make()
    tuner.learn_conditions(rows.apply(tf.data.experimental.assert_cardinality(400)))
    assert len(read) <= 170
    np.testing.assert_array_equal(tuner.conditions.values.numpy()[:2, 0], [0, 1])
    np.testing.assert_array_equal(tuner.conditions.frequencies.numpy()[:2], [12300, 4100])
    # of batches whose size is not known, too, not of the first alone
    rows = tf.data.Dataset.from_tensor_slices((x, np.arange(100) // 50)).batch(50)
    gan = kgl.GAN(*parts())
    gan.compile()
    gan.fit(rows, verbose=0, callbacks=[kgl.callbacks.GradientPenalty()])
    assert gan.conditions.known == 2
    # large ones by their bytes: 16 MB a batch
    image = keras.KerasTensor((None, 1024, 1024))
    large = tf.data.Dataset.from_tensors((x[:4], np.ones((4, 1024, 1024), "float32"))).repeat()
    assert first_conditions(large, image).shape == (16, 1024, 1024)


@pytest.mark.parametrize("form", ["array", "first batch", "later batch"])
def test_conditions_must_be_finite(form):
    x, labels = data()
    c = np.eye(5, dtype="float32")[labels]
    c[40 if form == "later batch" else 0, 2] = np.nan
    gan = kgl.GAN(*parts(condition=(5,), dtype="float32"))
    gan.compile()
    if form == "first batch":  # where they are known already, too
        gan.conditions.learn(np.eye(5))
    given = (x, c) if form == "array" else (tf.data.Dataset.from_tensor_slices((x, c)).batch(16),)
    with pytest.raises(ValueError, match="Conditions must be finite. Received: 1 values that are"):
        gan.fit(*given, verbose=0)


def test_draws_of_any_seed():
    tuner = make()
    fit(tuner, 1)
    for seed in (-1, 0, 2**62, None, keras.random.SeedGenerator(1)):
        z, c = draw(tuner, 5, seed)
        np.testing.assert_array_equal(c, tuner.conditions.of(z))
