"""What drives the loop from outside: other callbacks, weights that are set, unusual data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles

PENALTY = kgl.callbacks.GradientPenalty
CENTER = np.array([0.3, -0.2])


def make_gan(**kwargs):
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile(jit_compile=False, **kwargs)
    return gan


def make_tuner(**kwargs):
    tuner = kgl.FineTuner(None, oracles.smooth_critic((2,)), 0.1, max_layers=9, particles=8)
    tuner.compile(jit_compile=False, **kwargs)
    return tuner


def fit(model, *callbacks, **kwargs):
    kwargs = {"batch_size": 4, "verbose": 0, **kwargs}
    return model.fit(oracles.points(12), callbacks=[PENALTY(), *callbacks], **kwargs).history


def replayed(tuner):
    """Where the particles' seeds lead to, by the flow as it is."""
    return tuner.flow.positions(tuner.latent.sample_rows(tuner.carried.seeds)).numpy()


@pytest.mark.parametrize("programs", ["moves within", "moves between"])
def test_a_shorter_inner_loop_than_before(programs):
    """Six updates of ten, then six by twos: the move that is overdue falls on the first of them."""
    moves = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: moves.append(int(gan.generator_optimizer.iterations))
    )
    gan, watching = make_gan(), [watch] if programs == "moves between" else []
    fit(gan, kgl.callbacks.CriticInnerLoop(10), epochs=2)
    assert int(gan.generator_optimizer.iterations) == 0
    fit(gan, kgl.callbacks.CriticInnerLoop(2), *watching, epochs=2)
    assert int(gan.generator_optimizer.iterations) == 3
    assert gan.loop.since_move == 1
    assert moves == ([1, 1, 2, 2, 3, 3] if watching else [])


def test_generate_before_fit():
    for model in (make_gan(), make_tuner()):
        assert model.generate(4).shape == (4, 2)


def test_weights_set_at_equal_depth():
    """Particles stand where the flow is, whichever way its layers came to be others."""
    tuner, other = make_tuner(), make_tuner()
    fit(tuner, epochs=3)
    fit(other, epochs=3)
    assert np.abs(tuner(oracles.points(4)) - other(oracles.points(4))).max() > 1e-3
    tuner.set_weights(other.get_weights())
    tuner.prepare(4)
    np.testing.assert_allclose(tuner.carried.positions, replayed(tuner), atol=1e-6)
    # by its parts, too, of which the tuner is not told
    sizes = next(v for v in tuner.stack.weights if v.name == "step_sizes")
    sizes.assign(2 * sizes)
    tuner.prepare(4)
    np.testing.assert_allclose(tuner.carried.positions, replayed(tuner), atol=1e-6)


def test_weights_loaded_inside_a_fit(tmp_path):
    """Compiled steps then use the particles of the loaded flow."""
    other = make_tuner()
    fit(other, epochs=5)
    other.save_weights(tmp_path / "other.weights.h5")

    class Load(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.load_weights(tmp_path / "other.weights.h5")

    tuner = make_tuner()
    fit(tuner, Load(), epochs=3)
    assert tuner.stack.depth == 6
    np.testing.assert_allclose(tuner.carried.positions, replayed(tuner), atol=1e-5)
    np.testing.assert_array_equal(tuner.stack.step_sizes, 0.1)


def test_layers_dropped_inside_a_fit():
    class Drop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.rollback(1)

    tuner = make_tuner()
    fit(tuner, Drop(), epochs=4)
    assert tuner.stack.depth == 3
    np.testing.assert_allclose(tuner.carried.positions, replayed(tuner), atol=1e-5)


def test_batches_by_hand_take_no_callbacks_of_an_earlier_fit():
    """A penalty of weight 1e3 would be in the loss."""
    gan = make_gan()
    gan.fit(oracles.points(12), batch_size=4, callbacks=[PENALTY(1e3)], verbose=0)
    logs = gan.train_on_batch(oracles.points(4), return_dict=True)
    assert logs["penalty"] == 0
    penalty = PENALTY(1e3)
    penalty.set_model(gan)
    logs = gan.train_on_batch(oracles.points(4), return_dict=True)
    assert logs["penalty"] > 1


@pytest.mark.parametrize("make", [make_gan, make_tuner])
def test_equal_fits_are_traced_once(make):
    model, programs = make(), []
    for stddev in (0.1, 0.1, 0.1):
        fit(model, kgl.callbacks.InstanceNoise(stddev, decay_epochs=5))
        programs.append(model.loop.programs)
    assert programs[0] is programs[1] is programs[2]
    assert programs[0].updates.experimental_get_tracing_count() == 1
    fit(model)
    assert model.loop.programs is not programs[0]


def test_a_new_noise_is_its_own():
    """The program is the first callback's, the standard deviation the last's."""
    found = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            found.append([float(v) for v in self.model.loop.variables.values()])

    gan = make_gan()
    for stddev in (0.5, 0.25):
        fit(gan, kgl.callbacks.InstanceNoise(stddev, decay_epochs=4), Watch(), epochs=2)
    np.testing.assert_allclose(np.ravel(found), [0.5, 0.375, 0.25, 0.1875])


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.ReduceLROnPlateau("critic_loss", patience=1, mode="min"),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
    ],
)
def test_callbacks_of_one_optimizer(callback):
    """Refused by a GAN before it trains; a FineTuner has one."""
    adam = keras.optimizers.Adam
    gan = make_gan(
        generator_optimizer=adam(1e-3, use_ema=True), critic_optimizer=adam(1e-3, use_ema=True)
    )
    with pytest.raises(ValueError, match=f"{type(callback).__name__} acts on the one optimizer"):
        fit(gan, callback)
    assert int(gan.critic_optimizer.iterations) == 0
    tuner = make_tuner(critic_optimizer=adam(1e-3, use_ema=True))
    fit(tuner, callback, epochs=2)
    if isinstance(callback, keras.callbacks.LearningRateScheduler):
        assert float(tuner.critic_optimizer.learning_rate) == pytest.approx(2.5e-4)


def test_layers_are_stacked_with_averaged_weights():
    """What the layers follow is what the critic ends with; it trains on from its own."""
    found = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append(self.model.critic.get_weights())

    tuner = make_tuner(critic_optimizer=keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.8))
    fit(tuner, Watch(), epochs=2)
    stacked = [h.numpy()[1] for h in tuner.stack._history]
    for layer, end, raw in zip(stacked, tuner.critic.get_weights(), found[1], strict=True):
        np.testing.assert_allclose(layer, end, atol=1e-6)
        assert np.abs(layer - raw).max() > 1e-3 or not raw.any()  # the last offset has no gradient


def test_averages_before_the_first_update():
    """A layer of the critic as it was handed over: there are no averages yet."""
    rule = kgl.step_rules.LineSearch(lambda x: {"s": x.std()}, 0.1, samples=50)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule, max_layers=1)
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0, use_ema=True), jit_compile=False)
    tuner.fit(oracles.points(12), batch_size=4, verbose=0)
    np.testing.assert_allclose(tuner.stack._history[0].numpy()[0], CENTER, atol=1e-6)


def test_what_keras_is_given_is_finite(monkeypatch):
    seen, inner = [], keras.Model.fit

    def fit_and_read(self, x, *args, **kwargs):
        seen.append(sum(1 for _ in x))
        return inner(self, x, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", fit_and_read)
    for data in (
        oracles.points(12),
        tf.data.Dataset.from_tensor_slices(oracles.points(12)).batch(4).repeat(),
        tf.data.Dataset.from_tensor_slices(oracles.points(12)).batch(4).filter(lambda x: True),
    ):
        kwargs = {"batch_size": 4} if isinstance(data, np.ndarray) else {"steps_per_epoch": 3}
        gan = make_gan()
        gan.fit(data, epochs=2, callbacks=[PENALTY()], verbose=0, **kwargs)
        assert int(gan.critic_optimizer.iterations) == 6
    assert all(1 <= n <= 6 for n in seen)


def test_a_generator_that_runs_once_loses_no_batch():
    batches = iter(np.split(oracles.points(16), 4))
    spec = tf.TensorSpec((4, 2), "float32")
    data = tf.data.Dataset.from_generator(lambda: batches, output_signature=spec)
    gan = make_gan()
    fitted = gan.fit(data, callbacks=[PENALTY()], verbose=0)
    assert int(gan.critic_optimizer.iterations) == 4
    assert len(fitted.epoch) == 1


def test_data_of_unknown_length_are_checked_when_they_come():
    bad = np.split(np.full((8, 2), np.nan, "float32"), 2)
    spec = tf.TensorSpec((4, 2), "float32")
    data = tf.data.Dataset.from_generator(lambda: iter(bad), output_signature=spec)
    gan = make_gan()
    with pytest.raises(ValueError, match="Samples must be finite. Received: 8 values"):
        gan.fit(data, callbacks=[PENALTY()], verbose=0)
    assert int(gan.critic_optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("method", "name", "value", "match"),
    [
        ("fit", "validation_data", 1, "fit does not take `validation_data`: there is no loss on"),
        ("fit", "validation_split", 0.1, "fit does not take `validation_split`"),
        ("compile", "loss", "mse", "compile does not take `loss`: the objective is the loss"),
        ("compile", "optimizer", "sgd", "compile does not take `optimizer`: each part has an"),
        ("compile", "metrics", [], "compile does not take `metrics`: samples are scored with"),
    ],
)
def test_arguments_of_keras_that_have_no_meaning_here(method, name, value, match):
    for model in (make_gan(), make_tuner()):
        with pytest.raises(TypeError, match=match):
            getattr(model, method)(**{name: value})


def test_optimizers_have_names():
    with pytest.raises(TypeError, match="Expected compile.generator_optimizer=..., critic_opt"):
        make_gan().compile("sgd")
    with pytest.warns(DeprecationWarning, match="Name the optimizers: GAN.compile"):
        make_gan().compile("sgd", "adam")
    with pytest.warns(DeprecationWarning, match="Name the optimizers: FineTuner.compile"):
        make_tuner().compile("sgd")


def test_a_critic_that_nothing_holds(recwarn):
    """A reloaded GAN has no callbacks: one warning, and none where something holds the critic."""
    gan = make_gan()
    with pytest.warns(UserWarning, match="Nothing holds the critic Lipschitz") as found:
        gan.fit(oracles.points(12), batch_size=4, epochs=2, verbose=0)
    assert len([w for w in found if "Lipschitz" in str(w.message)]) == 1
    recwarn.clear()
    fit(gan)
    gan.fit(oracles.points(12), batch_size=4, callbacks=[kgl.callbacks.WeightClipping()], verbose=0)
    dense = keras.layers.SpectralNormalization(keras.layers.Dense(1))
    held = keras.Sequential([keras.layers.Input((2,)), dense])
    clipped = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Dense(1, kernel_constraint="unit_norm")]
    )
    for critic in (held, clipped):
        gan = kgl.GAN(oracles.point_generator(), critic)
        gan.compile(jit_compile=False)
        gan.fit(oracles.points(12), batch_size=4, verbose=0)
    minimax = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)), "minimax")
    minimax.compile(jit_compile=False)
    minimax.fit(oracles.points(12), batch_size=4, verbose=0)
    assert not [w for w in recwarn if "Lipschitz" in str(w.message)]


def test_an_activation_without_second_derivatives():
    critic = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Dense(4, "softsign"), keras.layers.Dense(1)]
    )
    gan = kgl.GAN(oracles.point_generator(), critic)
    gan.compile(jit_compile=False)
    with pytest.raises(ValueError, match="needs second derivatives.*Expected another activation"):
        gan.fit(oracles.points(12), batch_size=4, callbacks=[PENALTY()], verbose=0)


def test_xla_with_replicas(monkeypatch):
    gan = make_gan()
    monkeypatch.setattr(kgl.GAN, "replicas", 2)
    with pytest.raises(ValueError, match="jit_compile=False or 'auto' with 2 replicas. Received"):
        gan.compile(jit_compile=True)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_flow_norm_of_several_steps_a_layer(steps):
    """‖∇φL‖² of a linear critic is ‖a‖², of a quadratic one that at the start."""
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Quadratic(CENTER)])
    tuner = kgl.FineTuner(
        None, critic, 0.5, output_activation=None, particles=16, steps_per_layer=steps
    )
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    tuner.prepare(4)
    z = tuner.carried.positions.numpy()
    logs = tuner.fit(oracles.points(12), batch_size=4, callbacks=[PENALTY(0.0)], verbose=0)
    expected = np.mean(np.sum((z - CENTER) ** 2, axis=1))
    assert logs.history["flow_norm"][0] == pytest.approx(expected, rel=1e-5)


def test_parts_carry_their_names():
    generator = keras.Sequential(
        [keras.layers.Input((4,), name="z"), keras.layers.Dense(2, "tanh")], name="functional_27"
    )
    tuner = kgl.FineTuner(generator, oracles.smooth_critic((2,)), 0.1)
    names = [tuner.generator.name, tuner.critic.name, tuner.base.name, tuner.head.name]
    assert names == ["generator", "critic", "base", "head"]
    sampler = tuner.sampler()
    assert [sampler.base.name, sampler.head.name] == ["base", "head"]
    assert generator.name == "functional_27"


def test_a_sampler_shares_nothing_with_its_tuner():
    tuner = make_tuner()
    fit(tuner, epochs=2)
    sampler = tuner.sampler()
    assert isinstance(sampler, kgl.Sampler)
    assert isinstance(sampler.latent, kgl.Latent)
    z = tuner.latent.sample(5, seed=1)
    before = np.array(sampler(z))
    np.testing.assert_array_equal(before, tuner(z))
    assert not {id(v) for v in sampler.variables} & {id(v) for v in tuner.variables}
    assert (sampler.depth, sampler.stack.max_layers) == (2, 2)
    np.testing.assert_array_equal(sampler.step_sizes, tuner.stack.step_sizes)
    fit(tuner, epochs=2)
    tuner.rollback(0)
    np.testing.assert_array_equal(sampler(z), before)


def test_averages_of_no_update_are_not_taken():
    """An optimizer that has not stepped has averages of zero; its model ends as it began."""
    sgd = keras.optimizers.SGD(0.1, use_ema=True)
    gan = make_gan(generator_optimizer=sgd)
    before = [v.numpy() for v in gan.generator.trainable_variables]
    fit(gan, kgl.callbacks.CriticInnerLoop(100))
    for a, b in zip(before, gan.generator.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_hooks_follow_each_layer():
    class Count(kgl.callbacks.StepCallback):
        depths = []

        def after_generator_move(self):
            self.depths.append(self.model.stack.depth)

    rule = kgl.step_rules.LineSearch(lambda x: {"s": x.std()}, 0.1, samples=50, halvings=0)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule, max_layers=4)
    tuner.fit(oracles.points(12), batch_size=4, callbacks=[Count()], verbose=0)
    assert Count.depths == [1, 2, 3, 4]


def test_another_rule_within_a_run():
    class Set(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.step_size = kgl.step_rules.Backtracking(0.5, samples=50)

    tuner = oracles.quadratic_tuner(CENTER, step_size=0.1)
    tuner.fit(oracles.points(12), batch_size=4, epochs=2, callbacks=[Set()], verbose=0)
    np.testing.assert_array_equal(tuner.stack.step_sizes, [0.1, 0.5])


def test_two_noises_are_two():
    first, second = kgl.callbacks.InstanceNoise(0.1), kgl.callbacks.InstanceNoise(0.5)
    gan = make_gan()
    for noise in (first, second):
        noise.set_model(gan)
    assert (float(first.present), float(second.present)) == (pytest.approx(0.1), 0.5)


def test_each_weight_of_a_tuner_is_listed_once():
    """So that what is set by `set_weights` is what the critic has."""
    tuner = make_tuner()
    values = [v.value for v in tuner.variables]
    assert len({id(v) for v in values}) == len(values)
    weights = tuner.get_weights()
    place = next(i for i, v in enumerate(tuner.weights) if v is tuner.critic.weights[0])
    weights[place] = np.full_like(weights[place], 7)
    tuner.set_weights(weights)
    np.testing.assert_array_equal(tuner.critic.weights[0], weights[place])
    sampler = tuner.sampler()
    assert len({id(v.value) for v in sampler.variables}) == len(sampler.variables)


def test_a_schedule_that_ends_at_zero():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 2)
    tuner = oracles.quadratic_tuner(CENTER, step_size=schedule)
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        tuner.fit(oracles.points(12), batch_size=4, epochs=4, verbose=0)
    assert tuner.stack.depth == 2
