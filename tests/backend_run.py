"""What gradient layers give on the backend at hand: `python -m tests.backend_run FOLDER`.

Their values go to BACKEND.npz and a model of them to BACKEND.keras, in the folder; where
TensorFlow's file is there, what it gives here goes to the values, too.
"""

import pathlib
import sys

import keras
import numpy as np

import keras_gradlayer as kgl

OBJECTIVES = ["wasserstein", "minimax", "non_saturating", "hinge", "least_squares", "kl"]


def dense(*units, activation, seed):
    """A network of the same weights on each backend."""
    sizes = [keras.layers.Dense(n, activation) for n in units[1:-1]]
    layers = [keras.layers.Input((units[0],)), *sizes, keras.layers.Dense(units[-1])]
    model = keras.Sequential(layers)
    rng = np.random.default_rng(seed)
    model.set_weights([0.5 * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def main(folder):
    backend = keras.backend.backend()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    head = dense(3, 4, 3, activation="tanh", seed=1)
    values = {}
    for objective in OBJECTIVES:
        critic = dense(3, 8, 8, 1, activation="leaky_relu", seed=2)
        stack = kgl.layers.GradientLayerStack(critic, 0.1, 4, head, 2, objective)
        stack.append()
        critic.set_weights([1.5 * w for w in critic.get_weights()])
        stack.append(step_size=0.2)
        values[objective] = numbers(stack(x))
    values["rows"] = numbers(stack(x, layers=np.array([0, 1, 2, 1, 5])))
    values["one"] = numbers(stack(x, layers=1))
    values["rest"] = numbers(stack(values["one"], first=1))
    values["step_sizes"] = stack.step_sizes
    values["score"] = numbers(stack.score(x, layer=0))
    layer = kgl.layers.GradientLayer(critic, step_size=0.1)
    values["layer"] = numbers(layer(x))

    # in a model: a fit moves what lies below the layer through it, and nothing in it
    below = keras.layers.Dense(3)
    model = keras.Sequential([keras.layers.Input((3,)), below, layer, stack])
    below.set_weights([np.eye(3), np.zeros(3)])
    values["model"] = model.predict(x, verbose=0)
    trainer = keras.Sequential([keras.layers.Input((3,)), below, layer])
    trainer.compile(keras.optimizers.SGD(0.1), "mse")
    trainer.fit(x, np.ones_like(x), batch_size=5, verbose=0)
    values["fitted"] = below.get_weights()[0]
    assert len(trainer.trainable_variables) == 2

    # in a file, whose objects are others
    below.set_weights([np.eye(3), np.zeros(3)])
    model.save(folder / f"{backend}.keras")
    loaded = keras.saving.load_model(folder / f"{backend}.keras")
    values["loaded"] = loaded.predict(x, verbose=0)
    critic.set_weights([0 * w for w in critic.get_weights()])
    assert np.array_equal(loaded.predict(x, verbose=0), values["loaded"])
    if (theirs := folder / "tensorflow.keras").exists():
        values["theirs"] = keras.saving.load_model(theirs).predict(x, verbose=0)
    np.savez(folder / f"{backend}.npz", **values)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
