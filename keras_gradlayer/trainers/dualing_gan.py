"""A GAN whose critic is solved for through its dual."""

from collections.abc import Mapping, MutableMapping

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.trainers import _dual, _linearised
from keras_gradlayer.trainers.gan import GAN


@keras.saving.register_keras_serializable("keras_gradlayer")
class DualingGAN(GAN):
    """A GAN whose critic is solved for on each batch instead of descended.

    Use it where the two players of a GAN oscillate. On a batch of n real and n generated samples
    the critic F with weights w minimises

        f(w) = C/2 ‖w‖² + 1/(2n) Σ log(1 + exp(−F(x_i))) + 1/(2n) Σ log(1 + exp(F(G(z_i))))

    (half of minus the minimax V, and weight decay). The variants are:

    - `"linear"`, for a critic that is linear in its trainable variables, F = w·φ(x). The dual
      turns the game into one maximisation over θ and λ, with λ_i in [0, 1/(2n)], of
      −‖Σ λ_x φ(x) − Σ λ_z φ(G(z))‖²/(2C), which matches moments, plus the entropies of 2n λ. Each
      step takes λ to its maximum and the generator one step up the same function; the critic
      becomes w* = (Σ λ_x φ(x) − Σ λ_z φ(G(z)))/C.
    - `"cost"`: f is linearised around w; its minimum within ½‖s‖² ≤ Δ is at s = −√(2Δ) ∇f/‖∇f‖.
    - `"score"`: F is linearised around w, F(x) + s·∇F(x), which leaves a convex problem in s. It is
      solved within ½‖s‖² ≤ Δ through its dual. With a linear critic and a wide Δ it is `"linear"`.

    `"cost"` and `"score"` reject a step that does not lower f. Δ follows the ratio of the decrease
    of f to the predicted one: below ¼ it is divided by four; above ¾, for a step that reached the
    bound, it is doubled, up to its first value. (A critic at the optimum of each batch leaves the
    generator little to learn from.) The generator descends V.

    Source: Li et al., "Dualing GANs", NeurIPS 2017, Claims 1 to 3 and Algorithm 2. Departures:
    the inner problems are solved to their optimum by Newton's method on the dual; Δ has an upper
    limit; the generator of `"cost"` and `"score"` may descend −log D.

    The critic is always in inference mode: dropout is off, and batch normalization uses its
    moving statistics. `"score"` holds the gradients of 2n scores at once, 2n times the critic's
    trainable variables.

    Args:
        generator: as for `GAN`.
        critic: as for `GAN`. For `"linear"`, freeze the features (`trainable = False`) under a
            last `Dense(1)`.
        variant: `"linear"`, `"cost"` or `"score"`.
        weight_decay: C, positive. Where real and generated samples are alike, f is least at w = 0,
            from which a deep critic does not return: keep it small. A linear critic takes more
            (0.01), and needs it with many features.
        trust_region: Δ, its first and largest value, positive.
        inner_steps: maximum number of Newton steps on the dual.
        objective: `"minimax"`, or `"non_saturating"` for the last two variants.
        latent: as for `GAN`.
        **kwargs: the arguments of every Keras model (`name`).

    Call arguments:
        z: latents of shape (batch, *latent.shape).

    Input shape: (batch, *latent.shape). Output shape: (batch, *sample shape).

    `fit` logs the epoch means of `critic_loss` (f after the step), `wasserstein` (E F(x) −
    E F(G(z))), `penalty` (C/2 ‖w‖²), `generator_loss`, and by variant `duality_gap` (of the inner
    problem) and `trust_region` (Δ after the step).

    Raises:
        ValueError: as for `GAN`, for arguments out of range, a critic that couples rows or has no
            trainable variables, or one that is not linear for `"linear"`.
        TypeError: from `compile`, for a `critic_optimizer`.

    Example:
        >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "tanh")])
        >>> gan = DualingGAN(generator, mlp_critic((2,), units=16), variant="score")
        >>> gan.compile(generator_optimizer="adam")
        >>> history = gan.fit(keras.random.uniform((64, 2)), verbose=0)

        A linear critic on frozen features:

        >>> features = keras.layers.Dense(64, "tanh", trainable=False)
        >>> critic = keras.Sequential([keras.layers.Input((2,)), features, keras.layers.Dense(1)])
        >>> gan = DualingGAN(generator, critic, variant="linear", weight_decay=0.01)
    """

    _LOGS = {  # beside those of a GAN
        "linear": ("duality_gap",),
        "cost": ("trust_region",),
        "score": ("duality_gap", "trust_region"),
    }

    shares_batches = False
    _SETTINGS = ("variant", "weight_decay", "trust_region", "inner_steps")

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        variant: str = "score",
        weight_decay: float = 1e-4,
        trust_region: float = 0.01,
        inner_steps: int = 50,
        objective: str = "minimax",
        latent: Latent | None = None,
        **kwargs,
    ):
        if not _checks.among(variant, self._LOGS):
            raise ValueError(
                f"`variant` must be one of {tuple(self._LOGS)}. Received: variant={variant!r}"
            )
        allowed = ("minimax",) if variant == "linear" else ("minimax", "non_saturating")
        name = getattr(objective, "name", objective)
        if not _checks.among(name, allowed):
            raise ValueError(
                f"With variant={variant!r} `objective` must be one of {allowed}. "
                f"Received: objective={objective!r}"
            )
        self.variant = variant
        self.weight_decay = _checks.positive_number("weight_decay", weight_decay)
        self.trust_region = _checks.positive_number("trust_region", trust_region)
        self.inner_steps = _checks.positive_int("inner_steps", inner_steps)
        if kwargs.pop("simultaneous", False):
            raise ValueError(
                "DualingGAN solves for its critic before the generator moves. Expected no "
                "`simultaneous`. Received: simultaneous=True"
            )
        super().__init__(generator, critic, objective, latent, **kwargs)
        if self.condition_spec is not None:
            raise ValueError(
                "A DualingGAN solves for one critic of all samples. Expected a generator and a "
                "critic of one input each. Received: conditional ones"
            )
        if not critic.trainable_variables:
            raise ValueError(f"'{critic.name}' has no trainable variables to solve for.")
        bound = [v.path for v in critic.trainable_variables if v.constraint or v.regularizer]
        if bound:
            raise ValueError(
                "DualingGAN solves for its critic without constraints, and with a regularizer of "
                f"its own. Expected variables that have none. Received: {', '.join(bound)}"
            )
        _checks.rows_independent("critic", critic, self.sample_shape)
        if variant == "linear":
            _linearised.require_linear(critic, self.sample_shape)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the trust region's variable and the means of the logs."""
        self._radius = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.trust_region),
            trainable=False,
            dtype="float32",
            name="radius",
        )
        for name in self._LOGS[self.variant]:
            self.means[name] = keras.metrics.Mean(name=name)
        super().build(input_shape)

    def compile(  # type: ignore[override]  # the critic is solved for
        self,
        *,
        generator_optimizer: str | keras.optimizers.Optimizer | None = None,
        **kwargs,
    ) -> None:
        """Choose the generator's optimizer and how the steps are compiled.

        Args:
            generator_optimizer: a Keras optimizer or its name; Adam(1e-4, beta_1=0.5, beta_2=0.9)
                by default.
            **kwargs: `jit_compile="auto"`, `run_eagerly=False`, `steps_per_execution="auto"`. With
                `jit_compile="auto"` only `"cost"` may use XLA, which is slow at factorising the
                dual's matrices.
        """
        if "critic_optimizer" in kwargs:
            raise TypeError(
                "DualingGAN solves for its critic. Expected a generator_optimizer alone. Received: "
                f"critic_optimizer={kwargs['critic_optimizer']!r}"
            )
        settings = kwargs
        if self.variant != "cost" and kwargs.get("jit_compile", "auto") == "auto":
            settings = {**kwargs, "jit_compile": False}
        self.compile_steps(**settings)
        self.generator_optimizer = self._optimizer("generator", generator_optimizer)

    def scores(self, x: tf.Tensor, condition: None = None) -> tf.Tensor:
        """The critic's scores in inference mode, in float32."""
        return tf.cast(self.critic(x, training=False), "float32")

    # ---- the compiled steps -----------------------------------------------------------------

    def critic_update(self, real: tf.Tensor) -> dict:
        """One solution of the critic's problem, or of its model, on a batch."""
        real = tf.cast(real, "float32")
        fake = tf.cast(self.generate(real.shape[0] or tf.shape(real)[0], None), "float32")
        real, fake = self.critic_inputs(real), self.critic_inputs(fake)
        logs = getattr(self, f"_{self.variant}_step")(real, fake)
        real_scores, fake_scores, decay, loss = self._loss(real, fake)
        self.log(
            critic_loss=loss + self.alarm(real),
            wasserstein=tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores),
            penalty=decay,
            **logs,
        )
        return self.get_metrics_result()

    def generator_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """V, or for `"linear"` the dual at its best λ, with the sign turned: a scalar."""
        if self.variant != "linear":
            return super().generator_loss(real, fake)
        x, signs = tf.concat([real, fake], axis=0), _signs(real, fake)
        solution, _ = self._solve_linear(x, signs)
        weights = tf.stop_gradient(tf.cast(solution.weights, "float32"))
        n = tf.cast(tf.shape(signs)[0], "float32")
        moments = self._combine(x, weights * signs)
        match = tf.add_n([tf.reduce_sum(tf.square(tf.cast(m, "float32"))) for m in moments])
        u = tf.clip_by_value(n * weights, 1e-7, 1 - 1e-7)
        entropy = -tf.reduce_mean(u * tf.math.log(u) + (1 - u) * tf.math.log(1 - u))
        return match / (2 * self.weight_decay) - entropy

    def _linear_step(self, real, fake):
        """Set w to the optimum of the batch."""
        x, signs = tf.concat([real, fake], axis=0), _signs(real, fake)
        solution, features = self._solve_linear(x, signs)
        variables = self.critic.trainable_variables
        pull = solution.weights * tf.cast(signs, "float64")
        for v, w in zip(variables, _linearised.weighted_sums(features, pull, variables)):
            v.assign(tf.cast(w / self.weight_decay, v.dtype))
        return {"duality_gap": solution.gap}

    def _cost_step(self, real, fake):
        with tf.GradientTape() as tape:
            *_, loss = self._loss(real, fake)
        variables = self.critic.trainable_variables
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        gradients = [tf.cast(g, "float32") for g in gradients]
        norm = tf.linalg.global_norm(gradients)
        reach = tf.sqrt(2 * tf.convert_to_tensor(self._radius))
        steps = [-reach * tf.math.divide_no_nan(g, norm) for g in gradients]
        return self._try(real, fake, steps, loss, reach * norm, at_bound=True)

    def _score_step(self, real, fake):
        x, signs = tf.concat([real, fake], axis=0), _signs(real, fake)
        features = _linearised.features(self.critic, x)
        variables = self.critic.trainable_variables
        values = [tf.cast(tf.convert_to_tensor(v), "float32") for v in variables]
        weights = [tf.reshape(v, [-1]) for v in values]
        real_scores, fake_scores, _, loss = self._loss(real, fake)
        solution = _dual.solve(
            gram=_linearised.gram(features),
            projections=tf.add_n([tf.linalg.matvec(a, w) for a, w in zip(features, weights)]),
            scores=tf.reshape(tf.concat([real_scores, fake_scores], axis=0), [-1]),
            signs=signs,
            squared_norm=tf.add_n([tf.reduce_sum(tf.square(w)) for w in weights]),
            decay=self.weight_decay,
            radius=tf.convert_to_tensor(self._radius),
            steps=self.inner_steps,
        )
        pull = tf.cast(solution.weights, "float32") * signs
        stiffness = tf.cast(solution.stiffness, "float32")
        sums = _linearised.weighted_sums(features, pull, variables)
        steps = [(a - self.weight_decay * v) / stiffness for a, v in zip(sums, values)]
        promised = loss - tf.cast(solution.model, "float32")
        logs = self._try(real, fake, steps, loss, promised, stiffness > self.weight_decay)
        return {"duality_gap": solution.gap, **logs}

    def _try(self, real, fake, steps, before, promised, at_bound):
        """Take the steps if f falls, and adapt the trust region to how well f was predicted."""
        variables = self.critic.trainable_variables
        old = [tf.convert_to_tensor(v) for v in variables]
        for v, o, s in zip(variables, old, steps):
            v.assign(o + tf.cast(s, v.dtype))
        *_, after = self._loss(real, fake)
        ratio = tf.math.divide_no_nan(before - after, promised)
        taken = after <= before  # False where it is NaN
        for v, o in zip(variables, old):
            v.assign(tf.where(taken, tf.convert_to_tensor(v), o))
        radius = tf.convert_to_tensor(self._radius)
        # at a stationary point the decrease of f is rounding
        still = promised <= 1e-6 * tf.abs(before)
        moved = tf.where(
            ~taken | (ratio < 0.25),
            radius / 4,
            tf.where((ratio > 0.75) & at_bound, radius * 2, radius),
        )
        radius = tf.where(still, radius, moved)
        radius = tf.clip_by_value(radius, 1e-6 * self.trust_region, self.trust_region)
        self._radius.assign(radius)
        return {"trust_region": radius}

    # ---- the critic's problem ---------------------------------------------------------------

    def _loss(self, real, fake):
        """The scores, the weight decay and f."""
        real_scores, fake_scores = self.scores(real), self.scores(fake)
        variables = self.critic.trainable_variables
        squares = [tf.reduce_sum(tf.square(tf.cast(v, "float32"))) for v in variables]
        decay = self.weight_decay / 2 * tf.add_n(squares)
        return (
            real_scores,
            fake_scores,
            decay,
            decay - self.objective.value(real_scores, fake_scores) / 2,
        )

    def _solve_linear(self, x, signs):
        # in float64: w* is a small difference of sums, divided by C
        features = _linearised.features(self.critic, tf.stop_gradient(x))
        features = [tf.cast(a, "float64") for a in features]
        gram = _linearised.gram(features)
        return _dual.solve(gram, signs, self.weight_decay, self.inner_steps), features

    def _combine(self, x, weights):
        """Σ weights ∇_w F(x), one tensor a variable; gradients flow to `x`."""
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(weights * tf.reshape(self.scores(x), [-1]))
        variables = self.critic.trainable_variables
        return tape.gradient(total, variables, unconnected_gradients="zero")

    # ---- what joins, and state --------------------------------------------------------------

    def check_callbacks(self) -> None:
        """As for a `GAN`; none may change the critic, which is solved for."""
        super().check_callbacks()
        for callback in self.loop.callbacks:
            for cls in type(callback).__mro__[:-1]:
                if cls.__name__ == "StepCallback":
                    break
                if {"critic_loss", "score_loss", "after_critic_update"} & set(vars(cls)):
                    raise ValueError(
                        "DualingGAN solves for its critic, which has a weight decay of its own. "
                        "Expected callbacks that leave the critic's loss and weights alone. "
                        f"Received: {type(callback).__name__}"
                    )

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save the trust region with where the loop stands."""
        super().save_own_variables(store)
        store["radius"] = self._radius.numpy()

    def load_own_variables(self, store: Mapping) -> None:
        """Load the trust region and where the loop stood."""
        super().load_own_variables(store)
        self._radius.assign(store["radius"][()])


def _signs(real, fake):
    """1 for each real sample, −1 for each generated one."""
    return tf.concat([tf.ones(tf.shape(real)[0]), -tf.ones(tf.shape(fake)[0])], axis=0)
