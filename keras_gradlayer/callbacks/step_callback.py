"""How a callback joins the compiled training step."""

import keras
import tensorflow as tf


class StepCallback(keras.callbacks.Callback):
    """A Keras callback whose hooks are traced into the critic update and the generator move.

    To add a method, subclass it in a file of its own and override the hooks that the method
    touches. Inside them, `self.model` is the trainer: `self.model.scores(x)` gives the critic's
    scores in training mode, `self.model.seed_generator` the stream that random numbers come from.
    Of a conditional GAN, `self.model.scores(x, condition)` takes one of `self.conditions`, by
    default that of the data.
    The hooks run while the step is traced; only `after_generator_move` runs in Python.

    A step is traced anew for other callbacks or other settings of them, which are the plain
    attributes (numbers, strings, tuples of them); a callback with other attributes is traced anew
    in every fit. A number changed within a fit has no effect: keep it in `self.variable`.

    Example:
        >>> class Drift(StepCallback):
        ...     def critic_loss(self, real, fake):  # keeps the scores near zero
        ...         return 1e-3 * tf.reduce_mean(tf.square(self.model.scores(real)))
        >>> tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,)), step_size=0.1)
        >>> tuner.compile()
        >>> x = np.random.default_rng(0).uniform(-1, 1, (256, 2)).astype("float32")
        >>> logs = tuner.fit(x, batch_size=64, callbacks=[Drift()], verbose=0).history
        >>> logs["penalty"][0] > 0
        True
    """

    critic_steps: int | None = None
    """Critic updates before each generator move, from the one callback that sets it."""

    excludes: tuple[str, ...] = ()
    """Names of the callbacks, subclasses included, that make no sense beside this one."""

    alone: bool = False
    """Whether one of the class is enough: a second is taken for a mistake."""

    moves_parameters: bool = False
    """Whether it is only for trainers that move the generator's parameters."""

    @property
    def conditions(self) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """The conditions of the data and of the samples in this step, of a conditional GAN."""
        return getattr(self.model, "conditions_of", (None, None))

    @property
    def generates(self) -> bool:
        """Whether it makes the samples."""
        return type(self).generate is not StepCallback.generate

    @property
    def acts_after_moves(self) -> bool:
        """Whether it does something in Python after each move."""
        return type(self).after_generator_move is not StepCallback.after_generator_move

    @property
    def restrains(self) -> bool:
        """Whether it adds to the critic's loss, or changes its weights."""
        hooks = ("critic_loss", "after_critic_update")
        return any(getattr(type(self), h) is not getattr(StepCallback, h) for h in hooks)

    def set_model(self, model: keras.Model) -> None:
        """Join the trainer's step; `fit` calls this before it traces."""
        super().set_model(model)
        if not hasattr(model, "join"):
            raise TypeError(
                f"{type(self).__name__} joins the training step of a kgl.GAN or kgl.FineTuner. "
                f"Received: a {type(model).__name__}"
            )
        if (self.moves_parameters or self.generates) and not hasattr(model, "generator_gradients"):
            raise TypeError(
                f"{type(self).__name__} is for trainers that move the generator's parameters. "
                f"Expected a kgl.GAN. Received: a {type(model).__name__}"
            )
        model.join(self)

    def generate(self, z: tf.Tensor) -> tf.Tensor | None:
        """Samples of latents in the place of the generator's own; for one callback of a GAN.

        A conditional GAN gives (latents, conditions).
        """

    def critic_inputs(self, x: tf.Tensor) -> tf.Tensor:
        """What the critic is given in the place of `x`, for real and generated samples alike."""
        return x

    def critic_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor | None:
        """A scalar to add to what the critic descends, or `None`.

        Both are as the critic sees them: equal numbers of samples, float32 (batch, ...).
        """

    def score_loss(self, real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor | None:
        """The same, for terms in the scores that the objective is given."""

    def generator_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor | None:
        """A scalar to add to what the generator descends, or `None`; arguments as above."""

    def after_critic_update(self) -> None:
        """Run after each critic update, in the compiled step."""

    def after_generator_move(self) -> None:
        """Run after each generator move."""

    def variable(self, name: str, value: float) -> keras.Variable:
        """A number that may change within a fit, first `value`; the trainer keeps it by class."""
        alike = [c for c in self.model.loop.callbacks if type(c) is type(self)]
        key = type(self), name, alike.index(self) if self in alike else 0
        variables = self.model.loop.variables
        if key not in variables:
            variables[key] = keras.Variable(value, dtype="float32", trainable=False, name=name)
        return variables[key]

    def trace_key(self) -> tuple:
        """Equal for two callbacks only if they trace the same step."""
        settings = {k: v for k, v in vars(self).items() if k not in ("params", "_model", "model")}
        return type(self), tuple((k, _plain(v)) for k, v in sorted(settings.items()))


def _plain(value):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return object()  # equal to nothing else: traced anew
