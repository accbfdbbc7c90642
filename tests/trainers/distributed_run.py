"""Runs on one device, on two replicas, or as one of two workers; their states as arrays.

    python distributed_run.py KIND OUT TRAINERS [KILL_AT]

KIND is one, mirrored or workers, TRAINERS are names with commas between, and KILL_AT is the epoch
in which the process dies. A folder BACKUP in the environment is where epochs are backed up.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_gradlayer as kgl
from tests.oracles import points


class Kill(keras.callbacks.Callback):
    """Ends the process in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, False

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now and batch == 1:
            os._exit(9)


def make(trainer):
    keras.utils.set_random_seed(5)
    critic = kgl.models.mlp_critic((2,), units=16, depth=2)
    if trainer == "gan":
        generator = keras.Sequential(
            [keras.layers.Input((3,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(2)]
        )
        model = kgl.GAN(generator, critic)
    elif trainer == "tuner":  # with particles, some of them redrawn at each layer
        model = kgl.FineTuner(None, critic, 0.2, refresh=0.25)
    else:
        model = kgl.FineTuner(None, critic, 0.2, particles=None)
    # Steps large enough to tell runs apart; Adam would blow up the rounding of small gradients.
    model.compile(critic_optimizer=keras.optimizers.SGD(0.05, momentum=0.9), jit_compile=False)
    return model


def run(trainer, strategy, kill_at=None):
    with strategy.scope():
        model = make(trainer)
    callbacks = [kgl.callbacks.GradientPenalty(10.0)]
    if trainer == "gan":
        callbacks.append(kgl.callbacks.CriticInnerLoop(2))
    if "BACKUP" in os.environ:
        callbacks.append(keras.callbacks.BackupAndRestore(os.environ["BACKUP"]))
    if kill_at is not None:
        callbacks.append(Kill(kill_at))
    data = tf.data.Dataset.from_tensor_slices(points(64)).batch(16, drop_remainder=True)
    history = model.fit(data, epochs=3, callbacks=callbacks, verbose=0).history
    found = {f"weight {i}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    if trainer != "gan":
        depth = model.stack.depth
        for i, h in enumerate(model.stack._history):
            first, *others = getattr(h.value, "values", (h.value,))
            found[f"history {i}"] = first.numpy()[:depth]
            for other in others:
                np.testing.assert_array_equal(other.numpy(), first.numpy())
    return found | {f"log {name}": np.asarray(values) for name, values in history.items()}


def main(kind, out, trainers, kill_at=None):
    strategy = tf.distribute.get_strategy()
    if kind == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    elif kind == "workers":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()  # which reads TF_CONFIG
    os.makedirs(out, exist_ok=True)
    for trainer in trainers.split(","):
        found = run(trainer, strategy, None if kill_at is None else int(kill_at))
        np.savez(f"{out}/{trainer}.npz", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
