import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer._conditions import draw, to_spec
from keras_gradlayer.models._followed import Followed
from keras_gradlayer.models.conditions import standard_inputs
from tests import oracles


def parts(condition=(1,), dtype="int32", order=(0, 1), form=list, latent=(4,)):
    """A generator and a critic of points that take a condition: classes by an embedding."""

    def features(c):
        if "int" not in dtype:
            return keras.layers.Dense(3)(keras.layers.Flatten()(c))
        return keras.layers.Flatten()(keras.layers.Embedding(5, 3)(c))

    def model(x, c, y, name):
        inputs = [x, c][order[0]], [x, c][order[1]]
        given = {t.name: t for t in inputs} if form is dict else form(inputs)
        return keras.Model(given, y, name=name)

    z, c = keras.Input(latent, name="noise"), keras.Input(condition, dtype=dtype, name="label")
    h = keras.layers.Concatenate()([z, features(c)])
    h = keras.layers.Dense(8, "relu", name="hidden")(h)
    generator = model(z, c, keras.layers.Dense(2, "tanh")(h), "g")
    x, c = keras.Input((2,), name="sample"), keras.Input(condition, dtype=dtype, name="label")
    h = keras.layers.Dense(8, "softplus")(keras.layers.Concatenate()([x, features(c)]))
    return generator, model(x, c, keras.layers.Dense(1)(h), "d")


def data(n=64):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, n)
    return rng.uniform(-0.5, 0.5, (n, 2)).astype("float32") + 0.1 * labels[:, None], labels


def make(insert="top", particles="auto", **kwargs):
    keras.utils.set_random_seed(0)
    tuner = kgl.FineTuner(
        *parts(**kwargs), step_size=0.1, insert=insert, max_layers=6, particles=particles
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-3))
    return tuner


def fit(tuner, epochs=3, initial_epoch=0, **kwargs):
    x, labels = data()
    penalty = kgl.callbacks.GradientPenalty()
    return tuner.fit(
        x.astype("float32"),
        labels,
        epochs=epochs,
        initial_epoch=initial_epoch,
        batch_size=16,
        shuffle=False,
        callbacks=[penalty],
        verbose=0,
        **kwargs,
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("form", [list, tuple, dict])
def test_inputs_in_any_of_keras_ways(order, form):
    given = parts(order=order, form=form)
    generator, critic, spec = standard_inputs(*given)
    assert (spec.shape, spec.dtype) == ((None, 1), "int32")
    z, c = np.ones((3, 4), "float32"), np.array([[0], [2], [4]])

    def call(model, name, x):
        if form is dict:
            return model({name: x, "label": c})
        return model(form([x, c][i] for i in order))

    np.testing.assert_array_equal(generator([z, c]), call(given[0], "noise", z))
    x = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(critic([x, c]), call(given[1], "sample", x))


@pytest.mark.parametrize(
    ("insert", "particles"), [("top", "auto"), ("bottom", None), ("hidden", 32)]
)
def test_fit_replays_and_resumes_to_the_last_bit(insert, particles, tmp_path):
    tuner = make(insert, particles)
    fit(tuner)
    assert tuner.stack.depth == 3
    again = make(insert, particles)
    fit(again, 2)
    again.save(tmp_path / "tuner.keras")
    resumed = keras.saving.load_model(tmp_path / "tuner.keras")
    fit(resumed, 3, initial_epoch=2)
    for a, b in zip(oracles.weights_of(resumed), oracles.weights_of(tuner), strict=True):
        np.testing.assert_array_equal(a, b)
    z, c = tuner.latent.sample(10, seed=0), np.arange(10) % 5
    expected = tuner(z, condition=c)
    sampler = tuner.sampler()
    np.testing.assert_allclose(sampler(z, condition=c), expected, atol=1e-6)
    np.testing.assert_allclose(sampler([z, c]), expected, atol=1e-6)
    np.testing.assert_allclose(sampler.predict([z, c], verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(tuner.predict([z, c], verbose=0), expected, atol=1e-6)
    # a row's sample does not depend on other rows' conditions
    alone = np.concatenate([sampler([z[i : i + 1], c[i : i + 1]]) for i in range(10)])
    np.testing.assert_allclose(alone, expected, atol=1e-6)
    others = np.array(sampler([z, np.where(np.arange(10) == 3, c, 0)]))
    np.testing.assert_allclose(others[3], expected[3], atol=1e-6)
    # and it depends on its own
    assert not np.allclose(sampler([z, (c + 1) % 5]), expected, atol=1e-3)
    # none given: drawn from those of the data
    assert np.shape(sampler(z)) == (10, 2)
    sampler.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded([z, c]), sampler([z, c]))
    np.testing.assert_array_equal(loaded(z), sampler(z))
    if particles:  # they stand where the layers have moved them, each with its own condition
        seeds = tuner.carried.seeds
        conditions = tuner.conditions.draw(seeds)
        positions = tuner.flow.positions((tuner.latent.sample_rows(seeds), conditions))
        np.testing.assert_allclose(tuner.carried.positions, positions, atol=1e-5)


def test_each_class_follows_its_own_critic():
    """f(x, c) = w_c·x: each layer shifts the samples of class c by η w_c."""
    x, c = keras.Input((2,)), keras.Input((1,), dtype="int32")
    directions = keras.layers.Flatten()(keras.layers.Embedding(3, 2)(c))
    critic = keras.Model([x, c], keras.layers.Dot(1)([x, directions]))
    w = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]], "float32")
    critic.set_weights([w])
    layer = kgl.layers.GradientLayer(critic, step_size=0.1)
    stack = kgl.layers.GradientLayerStack(critic, 0.1, max_layers=2)
    points, labels = np.ones((3, 2), "float32"), np.array([[0], [1], [2]])
    np.testing.assert_allclose(layer(points, condition=labels), points + 0.1 * w, atol=1e-6)
    stack.append()
    stack.append()
    np.testing.assert_allclose(stack(points, condition=labels), points + 0.2 * w, atol=1e-6)
    depths = np.array([0, 1, 2])
    np.testing.assert_allclose(
        stack(points, layers=depths, condition=labels),
        points + 0.1 * depths[:, None] * w,
        atol=1e-6,
    )
    inputs, given = keras.Input((2,)), keras.Input((1,), dtype="int32")
    model = keras.Model([inputs, given], stack(inputs, condition=given))
    np.testing.assert_allclose(model([points, labels]), points + 0.2 * w, atol=1e-6)
    assert model.trainable_variables == []


def test_conditions_of_every_kind():
    ints, one_hot = keras.KerasTensor((None, 1), "int32"), keras.KerasTensor((None, 3), "float32")
    np.testing.assert_array_equal(to_spec(np.array([0, 2]), ints), [[0], [2]])
    np.testing.assert_array_equal(to_spec(np.array([0, 2]), one_hot), [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(to_spec(np.eye(3), one_hot), np.eye(3))
    assert to_spec(np.eye(3), one_hot).dtype == "float32"
    with pytest.raises(ValueError, match="Classes must be integers from 0 to 2. Received: 3"):
        to_spec(np.array([0, 3]), one_hot)
    in_graph = tf.function(lambda classes: to_spec(classes, one_hot))
    np.testing.assert_array_equal(in_graph(tf.constant([-1, 1])), [[np.nan] * 3, [0, 1, 0]])
    with pytest.raises(
        ValueError, match=r"shape \(n, 3\) that the models take. Received: \(n, 4\)"
    ):
        to_spec(np.eye(4), one_hot)


def test_images_from_images_take_no_latent():
    c = keras.Input((4, 4, 1))
    generator = keras.Model(c, keras.layers.Conv2D(1, 3, padding="same", activation="tanh")(c))
    target, given = keras.Input((4, 4, 1)), keras.Input((4, 4, 1), name="condition")
    h = keras.layers.Flatten()(keras.layers.Concatenate()([target, given]))
    critic = keras.Model([target, given], keras.layers.Dense(1)(h))
    tuner = kgl.FineTuner(generator, critic, 0.1, max_layers=2)
    tuner.compile()
    x = np.random.default_rng(0).uniform(-1, 1, (32, 4, 4, 1)).astype("float32")
    tuner.fit(x, -x, batch_size=8, callbacks=[kgl.callbacks.GradientPenalty()], verbose=0)
    assert tuner.latent.shape == (0,)
    sampler, z = tuner.sampler(), np.zeros((32, 0), "float32")
    # a linear critic shifts every sample along the head's slope times its weights, which it learned
    w = tuner.stack.potential.layers[-1].kernel.numpy()[:32].reshape(4, 4, 2)[..., :1]
    before = np.arctanh(generator(x))
    moved = sampler.predict([z, x], verbose=0)
    expected = before + 0.1 * (1 - np.tanh(before) ** 2) * w
    np.testing.assert_allclose(np.arctanh(moved), expected, atol=1e-4)
    np.testing.assert_allclose(sampler([z, x], layers=0), generator(x), atol=1e-6)
    with pytest.raises(ValueError, match="takes no noise: .* Expected `condition`"):
        sampler.predict(z, verbose=0)
    _, drawn = draw(sampler, 32, seed=-1)  # some of the data, not one of them over and over
    assert all(any(np.array_equal(c, -image) for image in x) for c in drawn)
    assert len({c.tobytes() for c in drawn.numpy()}) > 15


@pytest.mark.parametrize(
    ("names", "generators", "sample"),
    [
        (("source", "target"), None, 1),  # in the order of pix2pix
        (("sample", None), None, 0),
        (("photo", "map"), "photo", 1),  # as the generator calls it
        (("condition", "sample_of_it"), "z", 1),
    ],
)
def test_inputs_of_one_shape_are_told_by_their_names(names, generators, sample, tmp_path):
    """f = 2 a − 3 b of the inputs a, b: the penalty's gradient tells which one is the sample."""
    c = keras.Input((3,), name=generators)
    generator = keras.Model(c, keras.layers.Dense(3)(c))
    a, b = (keras.Input((3,), name=name) for name in names)
    score = keras.layers.Dot(1)([2 * a - 3 * b, keras.ops.ones_like(a)])
    gan = kgl.GAN(generator, keras.Model([a, b], score))
    gan.save(tmp_path / "gan.keras")
    x, c = np.ones((4, 3), "float32"), np.full((4, 3), 10.0, "float32")
    expected = 3 * (2 * 1 - 3 * 10 if sample == 0 else 2 * 10 - 3 * 1)
    for model in (gan, keras.saving.load_model(tmp_path / "gan.keras")):
        np.testing.assert_allclose(np.ravel(model.critic([x, c])), expected)


def test_inputs_of_one_shape_that_no_name_tells():
    """Keras' own names say nothing, even if both models have the same."""
    for name, theirs in ((None, None), ("input_1", "input_2"), ("left", "right")):
        c = keras.Input((3,), name=name)
        generator = keras.Model(c, keras.layers.Dense(3)(c))
        a, b = keras.Input((3,), name=name), keras.Input((3,), name=theirs)
        critic = keras.Model([a, b], keras.layers.Dot(1)([a, b]))
        for make_it in (kgl.GAN, lambda g, d: kgl.FineTuner(g, d, 0.1)):
            if name == "left":
                assert make_it(generator, critic).condition_spec is not None
                continue
            with pytest.raises(ValueError, match="names that tell the sample from the condition"):
                make_it(generator, critic)
    z, c = keras.Input((3,)), keras.Input((3,))
    generator = keras.Model([z, c], keras.layers.Dense(2)(keras.layers.Concatenate()([z, c])))
    x, c = keras.Input((2,)), keras.Input((3,))
    critic = keras.Model([x, c], keras.layers.Dense(1)(keras.layers.Concatenate()([x, c])))
    with pytest.raises(ValueError, match="names that tell the latent from the condition"):
        kgl.GAN(generator, critic)


def test_a_critic_with_a_second_head():
    """As in an AC-GAN: the critic takes the sample alone, and tells its class besides."""
    generator, _ = parts()
    x = keras.Input((2,))
    h = keras.layers.Dense(8, "softplus")(x)
    score, classes = keras.layers.Dense(1)(h), keras.layers.Dense(5, "softmax")(h)
    critic = keras.Model(x, [classes, score])
    with pytest.raises(ValueError, match=r"Pick one, as in keras.Model\(model.inputs"):
        kgl.FineTuner(generator, critic, 0.1)
    tuner = kgl.FineTuner(generator, keras.Model(x, critic.outputs[1]), 0.1, max_layers=3)
    tuner.compile()
    fit(tuner, 2)
    assert tuner.stack.depth == 2
    z = tuner.latent.sample(5, seed=0)
    c = tf.range(5)[:, None]
    np.testing.assert_allclose(tuner([z, c], layers=0), generator([z, c]), atol=1e-6)


def test_conditional_gan_trains_and_exports(tmp_path):
    keras.utils.set_random_seed(0)
    gan = kgl.GAN(*parts(form=dict, order=(1, 0)))
    gan.compile()
    x, labels = data()
    rows = tf.data.Dataset.from_tensor_slices((x, labels)).batch(16)
    callbacks = [kgl.callbacks.CriticInnerLoop(2), kgl.callbacks.GradientPenalty()]
    history = gan.fit(rows, epochs=2, callbacks=callbacks, verbose=0)
    assert np.isfinite(history.history["generator_loss"]).all()
    z, c = gan.latent.sample(6, seed=0), np.arange(6) % 5
    expected = gan.predict([z, c[:, None]], verbose=0)
    np.testing.assert_allclose(gan(z, condition=c), expected, atol=1e-6)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(loaded.predict([z, c[:, None]], verbose=0), expected)


@pytest.mark.parametrize("by_hand", [False, True])
def test_nothing_of_a_step_is_left_in_a_trainer(by_hand):
    x, labels = data()
    gan, graphs = kgl.GAN(*parts()), []
    gan.compile()

    class Watch(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            assert self.conditions[0].shape[1:] == (1,)
            graphs.append(weakref.ref(self.conditions[0].graph))

    watch = Watch()
    if by_hand:
        watch.set_model(gan)
        gan.train_on_batch(x, labels)
    else:
        gan.fit(x, labels, verbose=0, callbacks=[watch, kgl.callbacks.GradientPenalty()])
    assert graphs
    assert gan.conditions_of == (None, None)
    expected = gan.critic([x, labels[:, None]])
    np.testing.assert_allclose(gan.scores(x, labels[:, None]), expected, atol=1e-6)
    with pytest.raises(ValueError, match="with their conditions. Expected `condition`"):
        gan.scores(x)
    gan.loop.programs = None
    gc.collect()
    assert all(graph() is None for graph in graphs)


def test_watching_and_searching_callbacks_know_conditions(tmp_path):
    x, labels = data(200)

    def spread(samples):
        return {"spread": float(np.abs(samples).mean())}

    for rule in (kgl.step_rules.Backtracking(0.5), kgl.step_rules.LineSearch(spread)):
        tuner = make()
        tuner.step_size = rule
        monitor = kgl.callbacks.FlowMonitor((x, labels), samples=50)
        grid = kgl.callbacks.SampleGrid(tmp_path / type(rule).__name__, samples=20)
        scores = kgl.callbacks.Scores(spread, samples=50)
        tuner.fit(
            x,
            labels,
            epochs=2,
            verbose=0,
            callbacks=[kgl.callbacks.GradientPenalty(), scores, grid, monitor],
        )
        assert len(scores.history) == 3


def test_a_conditional_critic_with_batch_statistics_and_a_sigmoid():
    """As conditional DCGANs have it: minimax on logits, the statistics as they are."""
    generator, _ = parts()
    x, c = keras.Input((2,)), keras.Input((1,), dtype="int32")
    h = keras.layers.Concatenate()([x, keras.layers.Flatten()(keras.layers.Embedding(5, 3)(c))])
    h = keras.layers.BatchNormalization()(keras.layers.Dense(8)(h))
    critic = keras.Model([x, c], keras.layers.Dense(1, "sigmoid")(h))
    tuner = kgl.FineTuner(generator, critic, 0.1, max_layers=2)
    tuner.compile()
    fit(tuner, 2)
    assert tuner.objective.name == "minimax"
    given = [np.ones((4, 2), "float32"), np.arange(4)[:, None]]
    for v, w in zip(tuner.critic.variables, critic.variables, strict=True):
        v.assign(w)
    logits = np.array(tuner.critic(given))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), critic(given), atol=1e-6)
    sampler = kgl.refine(generator, critic, 0.1, 3)
    z = sampler.latent.sample(4, seed=0)
    assert not np.allclose(sampler([z, given[1]]), generator([z, tf.constant(given[1])]))


def test_a_grid_has_a_row_for_each_class():
    tuner = make()
    fit(tuner, 1)
    followed = Followed(tuner, 22, seed=0, by_class=True)
    assert followed.rows == 5
    z, conditions = followed.latents
    np.testing.assert_array_equal(np.ravel(conditions), np.repeat(np.arange(5), 4))
    np.testing.assert_allclose(followed.samples(), tuner(z, condition=conditions), atol=1e-6)
    assert Followed(tuner, 16, seed=0, by_class=True).rows is None  # fewer than four of each


def test_scores_within_classes():
    """Two classes of one-dimensional features: the mean of the Fréchet distances of each."""
    x = keras.Input((1, 2, 1))
    flat = keras.layers.Flatten()(x)
    judge = keras.Model(x, {"features": flat, "logits": keras.layers.Lambda(lambda t: t)(flat)})
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    real = np.clip(rng.normal(size=(200, 1, 2, 1)) * 0.2, -1, 1).astype("float32")
    real[:, :, 0] -= 0.3 * labels[:, None, None]
    fake = real + np.where(labels, 0.1, 0.2)[:, None, None, None].astype("float32")
    scorer = kgl.metrics.Scorer(judge, [(real, labels)])
    report = scorer([(fake, labels[:, None])])
    # a shift by d of both features: |d|² = 2 d²
    assert report.scores["intra_class_frechet_distance"] == pytest.approx(
        (2 * 0.1**2 + 2 * 0.2**2) / 2, rel=1e-3
    )
    expected = np.mean(fake.reshape(-1, 2).argmax(axis=1) == labels)
    assert report.scores["class_accuracy"] == pytest.approx(expected)
    one_hot = scorer([(fake, np.eye(2)[labels])])
    assert one_hot.scores == report.scores
    assert "class_accuracy" not in scorer(fake).scores


def test_bad_input():
    generator, critic = parts()
    x, labels = data()
    tuner = make()
    with pytest.raises(ValueError, match="is trained on samples and their conditions"):
        tuner.fit(x, verbose=0)
    with pytest.raises(ValueError, match="Received: 63 conditions for 64 samples"):
        tuner.fit(x, labels[1:], verbose=0)
    with pytest.raises(ValueError, match=r"Expected a dataset of \(samples, conditions\)"):
        tuner.fit(tf.data.Dataset.from_tensor_slices(x).batch(8), verbose=0)
    with pytest.raises(ValueError, match="has seen no data. Expected `condition`"):
        tuner(tuner.latent.sample(3, seed=0))
    plain = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    for build in (kgl.GAN, lambda g, d: kgl.FineTuner(g, d, 0.1)):
        with pytest.raises(ValueError, match="2 inputs of .* whose conditions have one shape"):
            build(plain, critic)
    with pytest.raises(ValueError, match="Expected a model of one input. Received: 'g', with 2 in"):
        kgl.GAN(generator, kgl.models.mlp_critic((2,)))
    with pytest.raises(ValueError, match="takes no condition"):
        kgl.FineTuner(plain, kgl.models.mlp_critic((2,)), 0.1)([np.ones((1, 4)), np.ones((1, 1))])
