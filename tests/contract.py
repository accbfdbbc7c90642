"""What every layer, step callback, objective and trainer must do, whatever it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests.oracles import points, weights_of


def optimizers_of(trainer):
    names = ("generator_optimizer", "critic_optimizer")
    return {n: getattr(trainer, n) for n in names if hasattr(trainer, n)}


def check_layer(make, input_shape, tolerance=1e-6):
    """The contract of a layer that keeps its input's shape.

    Args:
        make: () -> a new layer, each time with the same variables.
        input_shape: shape of one sample.
        tolerance: float32 rounding between compiled and eager arithmetic.
    """
    x = np.random.default_rng(0).normal(size=(5, *input_shape)).astype("float32")
    layer = make()
    expected = np.asarray(layer(x))
    assert expected.shape == x.shape
    assert layer.trainable_variables == []

    # eager, graph and XLA agree
    for jit in (False, True):
        compiled = tf.function(layer.__call__, jit_compile=jit, autograph=False)
        np.testing.assert_allclose(compiled(x), expected, atol=tolerance)

    # a row does not depend on the rows beside it
    alone = np.concatenate([layer(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(alone, expected, atol=tolerance)

    # config round trip
    config = layer.get_config()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == config

    # inside Functional, Sequential and subclassed models, nothing trainable leaks out
    for wrap in (_functional, _sequential, _subclassed):
        layer = make()
        model = wrap(layer, input_shape)
        model(x)
        below = model.layers[-2].trainable_variables
        assert {id(v) for v in model.trainable_variables} == {id(v) for v in below}
        model.trainable = False
        model.trainable = True
        assert {id(v) for v in model.trainable_variables} == {id(v) for v in below}
        before, inner = weights_of(model.layers[-2]), weights_of(layer.potential)
        model.compile("sgd", "mse")
        model.fit(x, np.zeros_like(x), verbose=0)
        assert not np.allclose(before[0], weights_of(model.layers[-2])[0])
        for a, b in zip(inner, weights_of(layer.potential), strict=True):
            np.testing.assert_array_equal(a, b)


def check_layer_saving(make, input_shape, folder):
    """A model with the layer comes back from `.keras`, and from an export, with equal values."""
    x = np.random.default_rng(0).normal(size=(5, *input_shape)).astype("float32")
    model = _functional(make(), input_shape)
    expected = model.predict(x, verbose=0)
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    loaded.save(folder / "again.keras")
    loaded = keras.saving.load_model(folder / "again.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    model.export(folder / "exported", verbose=False)
    exported = tf.saved_model.load(str(folder / "exported"))
    np.testing.assert_allclose(exported.serve(x), expected, atol=1e-6)


def check_layer_precision(make, input_shape):
    """Under the mixed policies the layer gives its compute dtype, near the float32 values."""
    x = np.random.default_rng(0).normal(size=(5, *input_shape)).astype("float32")
    expected = np.asarray(make()(x))
    # Two roundings of the values, which are of order 1: eps is 2^-8 and 2^-11.
    for policy, tolerance in (("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)):
        keras.config.set_dtype_policy(policy)
        layer = make()
        out = layer(x)
        assert out.dtype.name == policy.removeprefix("mixed_")
        assert layer.compute_output_spec(keras.KerasTensor(x.shape)).dtype == out.dtype.name
        np.testing.assert_allclose(np.asarray(out, "float32"), expected, atol=tolerance)
        keras.config.set_dtype_policy("float32")


def _functional(layer, input_shape):
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Dense(input_shape[-1], kernel_initializer="identity")(inputs)
    return keras.Model(inputs, layer(hidden))


def _sequential(layer, input_shape):
    dense = keras.layers.Dense(input_shape[-1], kernel_initializer="identity")
    return keras.Sequential([keras.layers.Input(input_shape), dense, layer])


class Subclassed(keras.Model):
    def __init__(self, dense, layer):
        super().__init__()
        self.dense, self.layer = dense, layer

    def call(self, x):
        return self.layer(self.dense(x))


def _subclassed(layer, input_shape):
    return Subclassed(keras.layers.Dense(input_shape[-1], kernel_initializer="identity"), layer)


def check_trainer(make, folder, callback=None):
    """The contract of a trainer on points in the plane.

    Args:
        make: () -> a new compiled trainer, each time with the same variables after
            `keras.utils.set_random_seed`; keyword arguments go to `compile`.
        folder: an empty folder.
        callback: a step callback that goes with the trainer; a gradient penalty by default.
    """
    data = tf.data.Dataset.from_tensor_slices(points()).batch(16)
    callback = callback or kgl.callbacks.GradientPenalty(10.0)

    def fit(trainer, epochs, callbacks, initial_epoch=0):
        return trainer.fit(
            data, epochs=epochs, initial_epoch=initial_epoch, callbacks=callbacks, verbose=0
        )

    # history of epoch means; the models handed in agree with the trainer's call
    straight = make()
    history = fit(straight, 4, [callback]).history
    assert {"critic_loss", "wasserstein", "penalty"} <= set(history)
    assert all(len(v) == 4 and np.isfinite(v).all() for v in history.values())
    latents = straight.latent.sample(6, seed=3)
    expected = straight.predict(latents, verbose=0)
    assert expected.shape == (6, 2)
    # XLA against eager arithmetic on a few layers
    np.testing.assert_allclose(straight(latents), expected, atol=1e-5)

    # seeds make a run repeat, in two parts too; a ready CallbackList is as good as a list
    again = make()
    fit(again, 2, [callback])
    again.save(folder / "trainer.keras")
    halfway = again.predict(latents, verbose=0)
    ready = keras.callbacks.CallbackList([callback], add_history=True, model=again)
    fit(again, 4, ready, initial_epoch=2)
    _assert_equal_state(again, straight)

    # loaded and trained on, it ends with the same weights, to the last bit
    resumed = keras.saving.load_model(folder / "trainer.keras")
    np.testing.assert_array_equal(resumed.predict(latents, verbose=0), halfway)
    fit(resumed, 4, [callback], initial_epoch=2)
    _assert_equal_state(resumed, straight)

    # it can be exported as it is, and as it was loaded
    for i, model in enumerate((make(), resumed)):
        model.export(folder / f"exported-{i}", verbose=False)
        exported = tf.saved_model.load(str(folder / f"exported-{i}"))
        np.testing.assert_allclose(exported.serve(latents), model(latents), atol=1e-5)

    # compiling again with its own optimizers, in another mode, changes nothing
    optimizers = optimizers_of(again)
    assert optimizers
    again.compile(**optimizers, run_eagerly=True)
    assert all(getattr(again, n) is optimizer for n, optimizer in optimizers.items())

    # config round trip
    config = straight.get_config()
    assert type(straight).from_config(straight.get_config()).get_config() == config


def check_trainer_modes(make, callbacks=()):
    """A trainer trains in every mode and precision; steps of several batches are the same steps.

    Args:
        make: as for `check_trainer`.
        callbacks: step callbacks to train with.
    """
    data = tf.data.Dataset.from_tensor_slices(points()).batch(16)

    def fit(trainer, epochs):
        return trainer.fit(data, epochs=epochs, callbacks=[*callbacks], verbose=0)

    for kwargs in ({"jit_compile": True}, {"jit_compile": False}, {"run_eagerly": True}):
        one, two = make(**kwargs), make(**kwargs, steps_per_execution=2)
        assert np.isfinite(fit(one, 2).history["critic_loss"]).all()
        fit(two, 2)
        _assert_equal_state(one, two)

    # one training step at each precision
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        mixed = make()
        assert np.isfinite(fit(mixed, 1).history["critic_loss"]).all()
        assert np.isfinite(mixed.predict(mixed.latent.sample(6, seed=3), verbose=0)).all()
        keras.config.set_dtype_policy("float32")


def check_stock_callbacks(make, folder):
    """Keras' own callbacks work, and an interrupted run goes on from its backup."""
    data = tf.data.Dataset.from_tensor_slices(points()).batch(16)
    straight = make()
    straight.fit(data, epochs=4, verbose=0)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(str(folder / "backup"))

    interrupted = make()
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(data, epochs=4, verbose=0, callbacks=[backup(), Interrupt()])
    resumed = make()
    history = resumed.fit(
        data,
        epochs=4,
        verbose=0,
        callbacks=[
            backup(),
            keras.callbacks.ModelCheckpoint(str(folder / "epoch-{epoch}.keras")),
            keras.callbacks.TensorBoard(str(folder / "board")),
            keras.callbacks.CSVLogger(str(folder / "log.csv")),
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.EarlyStopping("wasserstein", mode="min", patience=10),
        ],
    )
    assert history.epoch == [3]
    _assert_equal_state(resumed, straight)
    checkpoint = keras.saving.load_model(folder / "epoch-4.keras")
    _assert_equal_state(checkpoint, straight)
    assert "wasserstein" in (folder / "log.csv").read_text()
    assert any((folder / "board").rglob("events*"))
    # TerminateOnNaN ends a run whose data turns bad
    bad = tf.concat([points(48), np.full((64, 2), np.nan, "float32")], axis=0)
    batches = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: batches.append(1))
    straight.fit(
        tf.data.Dataset.from_tensor_slices(bad).batch(16),
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN(), count],
    )
    assert len(batches) == 4  # three good batches and the first bad one, of seven
    # no epoch is that much better than the first
    stopping = keras.callbacks.EarlyStopping("wasserstein", mode="max", min_delta=1e9, patience=1)
    assert interrupted.fit(data, epochs=4, verbose=0, callbacks=[stopping]).epoch == [0, 1]


def check_step_callback(make, trainer, folder):
    """A step callback changes the step that it joins, compiled or not, and only that fit's.

    Args:
        make: () -> a new callback that adds to the critic's loss.
        trainer: () -> a new compiled trainer; keyword arguments go to `compile`.
        folder: unused folder.
    """
    x = points(16)

    def loss(trainer, callbacks):
        history = trainer.fit(x, batch_size=16, shuffle=False, callbacks=callbacks, verbose=0)
        logs = {k: v[0] for k, v in history.history.items()}
        # the term is really in what the critic descends
        np.testing.assert_allclose(
            logs["critic_loss"], logs["penalty"] - logs["wasserstein"], rtol=1e-5, atol=1e-6
        )
        return logs

    terms = []
    for kwargs in ({"jit_compile": True}, {"run_eagerly": True}, {"jit_compile": False}):
        keras.utils.set_random_seed(1)
        subject = trainer(**kwargs)
        terms.append(loss(subject, [make()])["penalty"])
    assert loss(subject, [])["penalty"] == 0
    assert loss(subject, [make()])["penalty"] > 0
    assert terms[0] > 0
    # graph and eager mode draw the same random numbers; XLA does not of a stream
    np.testing.assert_allclose(terms[1], terms[2], rtol=1e-5)

    with pytest.raises(TypeError, match="joins the training step of a kgl.GAN or kgl.FineTuner"):
        make().set_model(keras.Sequential([keras.layers.Dense(1)]))


def check_objective(objective):
    """The critic ascends V, the generator descends the part of it that it can change."""
    rng = np.random.default_rng(0)
    # between -1 and 1, where the labels of all games are
    real, fake = tf.constant(rng.uniform(-1, 1, size=(2, 7)).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([real, fake])
        value, loss = objective.value(real, fake), objective.generator_loss(fake)
    assert value.shape == loss.shape == ()
    assert np.all(tape.gradient(value, real) >= 0)  # a higher score for real data raises V
    # the generator's loss falls where its samples' scores rise
    assert np.all(tape.gradient(loss, fake) <= 0)
    # which is minus the mean of the potential, entry by entry
    potential = objective.potential(fake)
    assert potential.shape == fake.shape
    np.testing.assert_allclose(loss, -np.mean(potential), rtol=1e-6)
    np.testing.assert_allclose(objective.potential(fake[2:3])[0], potential[2], rtol=1e-6)
    np.testing.assert_allclose(objective.value(real[:, None], fake[:, None]), value, rtol=1e-6)


def _assert_equal_state(a, b):
    for x, y in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_array_equal(x, y)
    theirs = optimizers_of(b)
    for name, optimizer in optimizers_of(a).items():
        for x, y in zip(optimizer.variables, theirs[name].variables, strict=True):
            np.testing.assert_array_equal(x, y)
