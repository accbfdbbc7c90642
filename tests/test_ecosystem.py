"""Keras' callbacks on a GAN and a FineTuner: each does what it is for, alone and with the rest."""

import csv
import types

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

stock = keras.callbacks
EPOCHS, UPDATES = 3, 2  # updates an epoch
RATE, MOMENTUM = 0.01, 0.8
NO_BETTER = 1e9  # a `min_delta` that no epoch gets over the first by
TRAINERS = ["GAN", "FineTuner"]


def make(trainer):
    keras.utils.set_random_seed(3)
    critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    critic_optimizer, generator_optimizer = (
        keras.optimizers.Adam(RATE, use_ema=True, ema_momentum=MOMENTUM) for _ in range(2)
    )
    if trainer == "GAN":
        model = kgl.GAN(oracles.point_generator(), critic, "minimax")
        model.compile(
            generator_optimizer=generator_optimizer,
            critic_optimizer=critic_optimizer,
            run_eagerly=True,  # which takes less time here
        )
        model.optimizer = model.critic_optimizer  # the one of the two that they act on
    else:
        model = kgl.FineTuner(None, critic, 0.1, particles=16, max_layers=9, objective="minimax")
        model.compile(critic_optimizer=critic_optimizer, jit_compile=False)
    return model


class Watch(stock.Callback):
    """The critic's weights after each update and epoch; all weights and the rate after an epoch."""

    def __init__(self):
        super().__init__()
        self.updates, self.critics, self.epochs, self.rates = [], [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.updates.append(self.model.critic.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.model.get_weights())
        self.critics.append(self.model.critic.get_weights())
        self.rates.append(float(self.model.critic_optimizer.learning_rate))


class Interrupt(stock.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def fit(model, *callbacks):
    watch = Watch()
    callbacks = [*callbacks, watch]
    x = oracles.points(4 * UPDATES)
    history = model.fit(x, batch_size=4, epochs=EPOCHS, callbacks=callbacks, verbose=0)
    return types.SimpleNamespace(model=model, history=history, watch=watch)


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def tensorboard(folder, run, names):
    """The curves are the history."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder / "board" / "train")).Reload()
    for name, values in run.history.history.items():
        if name == "learning_rate":  # which TensorBoard takes when the others have set it
            values = run.watch.rates
        shown = [make_ndarray(e.tensor_proto) for e in events.Tensors(f"epoch_{name}")]
        np.testing.assert_allclose(shown, values, rtol=1e-6)  # float32


def csv_logger(folder, run, names):
    """The columns are the history."""
    with open(folder / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == run.history.epoch
    for name, values in run.history.history.items():
        assert [float(row[name]) for row in rows] == pytest.approx(values, rel=1e-12)


def model_checkpoint(folder, run, names):
    """Each epoch's file is the model as it was at its end."""
    assert len(run.watch.epochs) >= 2
    for epoch, weights in enumerate(run.watch.epochs, 1):
        loaded = keras.saving.load_model(folder / f"{epoch}.keras")
        assert_same(loaded.get_weights(), weights)
        assert int(loaded.critic_optimizer.iterations) == UPDATES * epoch
    if len(names) == 1:
        z = run.model.latent.sample(3, seed=1)
        run.model.set_weights(run.watch.epochs[-1])  # a fit ends with a generator's averages
        assert_same(loaded.predict(z, verbose=0), run.model.predict(z, verbose=0))


def early_stopping(folder, run, names):
    """No epoch is that much better than the first, whose weights are the model's again."""
    assert run.history.epoch == [0, 1, 2][: EARLY[len(names) > 1] + 1]
    assert_same(run.model.get_weights(), run.watch.epochs[0])
    assert not all(np.array_equal(*pair) for pair in zip(*run.watch.epochs[:2]))
    if isinstance(run.model, kgl.FineTuner):
        assert run.model.stack.depth == 1


def rate(folder, run, names):
    """Halved as each epoch begins; a tenth at the end of each that is no better than the first."""
    expected, current = [], RATE
    for epoch in range(len(run.history.epoch)):
        current *= 0.5 if "LearningRateScheduler" in names else 1
        current *= 0.1 if "ReduceLROnPlateau" in names and epoch else 1
        expected.append(current)
    np.testing.assert_allclose(run.watch.rates, expected, rtol=1e-6)  # float32
    if isinstance(run.model, kgl.GAN):
        assert float(run.model.generator_optimizer.learning_rate) == pytest.approx(RATE)


def swap_ema_weights(folder, run, names):
    """After an epoch the critic has the averages; it trains on from its own weights."""
    average, averages = run.watch.updates[0], []
    for i, weights in enumerate(run.watch.updates):
        if i:
            average = [MOMENTUM * a + (1 - MOMENTUM) * w for a, w in zip(average, weights)]
        averages.append(average)
    for epoch, weights in enumerate(run.watch.critics):
        last = UPDATES * epoch + UPDATES - 1
        for found, expected, own in zip(weights, averages[last], run.watch.updates[last]):
            np.testing.assert_allclose(found, expected, atol=1e-6)  # float32
            assert np.abs(found - own).max() > 1e-4 or not own.any()
    assert epoch == EPOCHS - 1
    if len(names) == 1:
        assert_same(run.model.critic.get_weights(), run.watch.critics[-1])


def backup_and_restore(folder, run, names):
    """A run that was interrupted goes on from its backup and ends as one that was not."""
    assert not (folder / "backup").exists()  # the run has ended
    if names == ["BackupAndRestore"]:
        trainer = type(run.model).__name__
        with pytest.raises(KeyboardInterrupt):
            fit(make(trainer), stock.BackupAndRestore(folder / "backup"), Interrupt())
        resumed = fit(make(trainer), stock.BackupAndRestore(folder / "backup"))
        assert resumed.history.epoch == [2]
        assert_same(resumed.model.get_weights(), run.model.get_weights())
        assert resumed.history.history == {k: v[2:] for k, v in run.history.history.items()}


EARLY = {False: 1, True: 2}  # epochs that EarlyStopping waits, alone and beside the others
# What makes it in a folder, alone or not; and what it has come to. Logs come after what they log.
TABLE = {
    "LearningRateScheduler": (
        lambda f, alone: stock.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
        rate,
    ),
    "ReduceLROnPlateau": (
        lambda f, alone: stock.ReduceLROnPlateau(
            "loss", factor=0.1, patience=1, min_delta=NO_BETTER
        ),
        rate,
    ),
    "SwapEMAWeights": (lambda f, alone: stock.SwapEMAWeights(swap_on_epoch=True), swap_ema_weights),
    "TensorBoard": (lambda f, alone: stock.TensorBoard(f / "board"), tensorboard),
    "CSVLogger": (lambda f, alone: stock.CSVLogger(f / "log.csv"), csv_logger),
    "ModelCheckpoint": (
        lambda f, alone: stock.ModelCheckpoint(f / "{epoch}.keras"),
        model_checkpoint,
    ),
    "EarlyStopping": (
        lambda f, alone: stock.EarlyStopping(
            "wasserstein",
            mode="min",
            min_delta=NO_BETTER,
            patience=EARLY[not alone],
            restore_best_weights=True,
        ),
        early_stopping,
    ),
    "BackupAndRestore": (
        lambda f, alone: stock.BackupAndRestore(f / "backup"),
        backup_and_restore,
    ),
}


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("names", [[name] for name in TABLE] + [list(TABLE)], ids="-".join)
def test_keras_callbacks(tmp_path, trainer, names):
    alone = len(names) == 1
    run = fit(make(trainer), *(TABLE[name][0](tmp_path, alone) for name in names))
    for check in dict.fromkeys(TABLE[name][1] for name in names):
        check(tmp_path, run, names)
