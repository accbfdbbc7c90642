import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles


def make(input_shape=(3,), depth=3, **kwargs):
    keras.utils.set_random_seed(0)
    critic = oracles.smooth_critic(input_shape)
    stack = kgl.layers.GradientLayerStack(critic, 0.5, max_layers=5, **kwargs)
    for k in range(depth):
        critic.set_weights([w + 0.1 * k for w in critic.get_weights()])
        stack.append()
    return stack


@pytest.mark.parametrize("shape", [(3,), (2, 4, 3)])
def test_contract(shape):
    contract.check_layer(lambda: make(shape), shape)


def test_saving(tmp_path):
    contract.check_layer_saving(make, (3,), tmp_path)


def test_precision():
    contract.check_layer_precision(make, (3,))


def test_replays_each_layer_with_the_weights_it_was_stacked_with():
    critic = oracles.Linear([1.0, 0.0])
    stack = kgl.layers.GradientLayerStack(critic, 0.5, max_layers=4)
    for a in ([1.0, 0.0], [0.0, 2.0], [-3.0, 1.0]):
        critic.set_weights([np.array(a)])
        stack.append()
    critic.set_weights([np.array([100.0, 100.0])])  # as it is now, it is in no layer
    x = oracles.points(3)
    shifts = 0.5 * np.array([[0, 0], [1, 0], [1, 2], [-2, 3]])
    assert stack.depth == 3
    np.testing.assert_allclose(stack(x), x + shifts[3], rtol=1e-6)
    for k in range(4):
        np.testing.assert_allclose(stack(x, layers=k), x + shifts[k], rtol=1e-6)
    np.testing.assert_allclose(stack(x, layers=99), x + shifts[3], rtol=1e-6)
    np.testing.assert_array_equal(stack(x, layers=-1), x)
    per_row = stack(x, layers=tf.constant([2, 0, 7]))
    np.testing.assert_allclose(per_row, x + shifts[[2, 0, 3]], rtol=1e-6)


def test_history_holds_non_trainable_variables_too():
    norm = keras.layers.BatchNormalization(epsilon=0.0)
    critic = keras.Sequential([keras.layers.Input((2,)), norm, keras.layers.Dense(1)])
    critic.layers[-1].set_weights([np.array([[1.0], [1.0]]), np.zeros(1)])
    stack = kgl.layers.GradientLayerStack(critic, 1.0, max_layers=2)
    x = oracles.points(3)
    for variance in (4.0, 0.25):
        norm.moving_variance.assign([variance] * 2)
        stack.append()
    np.testing.assert_allclose(stack(x, layers=1), x + 0.5, rtol=1e-6)
    np.testing.assert_allclose(stack(x), x + 0.5 + 2.0, rtol=1e-6)


def test_algorithm_3_closed_form():
    """With f = -½‖z − c‖² each layer is z ← z + η (c − z), so z_T − c = (1 − η)^T (z_0 − c)."""
    center, eta, depth = np.array([0.3, -0.2]), 0.1, 50
    stack = kgl.layers.GradientLayerStack(oracles.Quadratic(center), eta, max_layers=depth)
    for _ in range(depth):
        stack.append()
    x = oracles.points(100)
    expected = center + (1 - eta) ** depth * (x - center)
    np.testing.assert_allclose(stack(x), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        stack(x, layers=10), center + (1 - eta) ** 10 * (x - center), rtol=0, atol=1e-5
    )


def test_discretisation_error_halves_with_the_step():
    """First order: against the flow's own solution c + e^{-t} (z − c), in float64."""
    center, time = np.array([0.3, -0.2]), 1.0
    x = np.random.default_rng(0).normal(size=(10, 2))
    exact = center + np.exp(-time) * (x - center)

    def error(steps, **kwargs):
        critic = oracles.Quadratic(center, dtype="float64")
        layers = 1 if kwargs else steps
        eta = time / layers
        stack = kgl.layers.GradientLayerStack(critic, eta, layers, dtype="float64", **kwargs)
        for _ in range(layers):
            stack.append()
        return np.abs(stack(x) - exact).max()

    errors = [error(n) for n in (20, 40, 80, 160)]
    ratios = np.divide(errors[:-1], errors[1:])
    # the next order term is a relative 1/n, at most 1/20
    np.testing.assert_allclose(ratios, 2.0, rtol=0.05)
    assert ratios[2] == pytest.approx(2.0, rel=0.01)
    # one critic in m steps of η/m is the same walk as m layers of η/m with that critic
    np.testing.assert_allclose(error(40, steps_per_layer=40), errors[1], rtol=1e-9)


def test_head_is_inside_the_potential():
    """G(z) = z + η ∇_z f(g1(z)): with f linear and g1 = tanh, a (1 − tanh² z)."""
    a = np.array([1.0, -2.0])
    head = keras.layers.Activation("tanh")
    stack = kgl.layers.GradientLayerStack(oracles.Linear(a), 0.5, max_layers=1, head=head)
    stack.append()
    x = oracles.points(4)
    np.testing.assert_allclose(stack(x), x + 0.5 * a * (1 - np.tanh(x) ** 2), rtol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_gradient_through_the_stack(jit):
    stack = make(depth=2)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")

    @tf.function(jit_compile=jit, autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(stack(x) ** 2)
        return tape.gradient(loss, x)

    layers = [[np.asarray(h.value[k], "float64") for h in stack._history] for k in range(2)]

    def loss(x):
        for weights in layers:
            x = x + 0.5 * oracles.numpy_input_gradient(weights, x)
        return np.sum(x**2)

    np.testing.assert_allclose(
        gradient(tf.constant(x)), oracles.finite_difference(loss, x, 1e-4), atol=1e-4
    )


def test_graph_size_does_not_depend_on_depth():
    def nodes(depth):
        function = tf.function(make(depth=depth).__call__, autograph=False)
        graph = function.get_concrete_function(tf.TensorSpec((None, 3))).graph.as_graph_def()
        return len(graph.node) + sum(len(f.node_def) for f in graph.library.function)

    assert nodes(1) == nodes(5)


def test_append_takes_another_potential_of_the_same_shapes():
    stack = kgl.layers.GradientLayerStack(oracles.Linear([1.0, 0.0]), 1.0, max_layers=2)
    stack.append(oracles.Linear([0.0, 5.0]))
    x = oracles.points(2)
    np.testing.assert_allclose(stack(x), x + [0, 5], rtol=1e-6)
    with pytest.raises(ValueError, match=r"do not fit the stack. Expected the shapes \[\(2,\)\]"):
        stack.append(oracles.Linear([1.0, 2.0, 3.0]))
    assert stack.depth == 1


def test_full_stack():
    stack = make(depth=5)
    with pytest.raises(ValueError, match="The stack is full: it holds 5 layers"):
        stack.append()
    assert stack.depth == 5


def test_unbuilt_potential():
    stack = kgl.layers.GradientLayerStack(keras.Sequential([keras.layers.Dense(1)]), 0.1, 2)
    with pytest.raises(ValueError, match="needs a potential that has its variables"):
        stack.append()
    stack(oracles.points(2))
    stack.append()
    assert stack.depth == 1


def test_files_hold_the_stacked_layers_alone(tmp_path):
    sizes = []
    for room in (3, 300):
        stack = kgl.layers.GradientLayerStack(oracles.smooth_critic((3,), units=64), 0.5, room)
        stack.append()
        model = keras.Sequential([keras.layers.Input((3,)), stack])
        model.save(tmp_path / f"{room}.keras")
        sizes.append((tmp_path / f"{room}.keras").stat().st_size)
    assert abs(sizes[0] - sizes[1]) < 500  # bytes


def test_loading_more_layers_than_there_is_room_for(tmp_path):
    keras.Sequential([keras.layers.Input((3,)), make()]).save_weights(tmp_path / "m.weights.h5")
    small = keras.Sequential(
        [
            keras.layers.Input((3,)),
            kgl.layers.GradientLayerStack(oracles.smooth_critic((3,)), 0.5, max_layers=2),
        ]
    )
    with pytest.raises(ValueError, match="at most 2 layers, the stack's max_layers. Received: 3"):
        small.load_weights(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("name", ["max_layers", "steps_per_layer"])
@pytest.mark.parametrize("value", [0, -1, 1.5, None])
def test_bad_counts(name, value):
    arguments = {"max_layers": 2, name: value}
    with pytest.raises(
        ValueError, match=f"`{name}` must be an integer (of at least|from) 1.*Received"
    ):
        kgl.layers.GradientLayerStack(oracles.Linear([1.0]), 0.1, **arguments)


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r"does not take samples of shape \(5,\)"):
        make()(np.zeros((2, 5), "float32"))


def test_step_sizes_of_their_own(tmp_path):
    """Each layer keeps the η that it was stacked with; files and copies do, too."""
    stack = kgl.layers.GradientLayerStack(oracles.Linear([1.0, -2.0]), 0.1, max_layers=4)
    x = oracles.points(5)
    stack(x)
    stack.append()
    stack.append(step_size=0.25)
    stack.append()
    np.testing.assert_array_equal(stack.step_sizes, [0.1, 0.25, 0.1])
    shifts = [0.0, 0.1, 0.35, 0.45]
    for k, shift in enumerate(shifts):
        np.testing.assert_allclose(stack(x, layers=k), x + shift * np.array([1, -2]), atol=1e-6)
    # from the middle on, to each row's own depth
    on = stack(x, layers=[0, 1, 2, 3, 3], first=1)
    moved = np.array([0, 0, 0.25, 0.35, 0.35])[:, None] * [1, -2]
    np.testing.assert_allclose(on, x + moved, atol=1e-6)
    model = keras.Sequential([keras.layers.Input((2,)), stack])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.layers[-1].step_sizes, stack.step_sizes)
    np.testing.assert_array_equal(loaded(x), model(x))
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        stack.append(step_size=0.0)
    assert stack.depth == 3


def test_truncate_and_restore():
    potential = oracles.Linear([1.0, 0.0])
    stack = kgl.layers.GradientLayerStack(potential, 1.0, max_layers=3)
    x = oracles.points(5)
    stack(x)
    for a in ([1.0, 0.0], [0.0, 1.0], [5.0, 5.0]):
        potential.set_weights([np.array(a)])
        stack.append()
    stack.truncate(2)
    np.testing.assert_allclose(stack(x), x + [1, 1], atol=1e-6)
    stack.restore(0)
    np.testing.assert_array_equal(potential.get_weights()[0], [1, 0])
    stack.append()  # in the place of the one that was dropped
    np.testing.assert_allclose(stack(x), x + [2, 1], atol=1e-6)
    for bad in (-1, 4):
        with pytest.raises(ValueError, match=f"from 0 to 3. Received: depth={bad}"):
            stack.truncate(bad)
    with pytest.raises(ValueError, match="`layer` must be an integer from 0 to 2"):
        stack.restore(3)
