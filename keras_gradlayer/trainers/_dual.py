"""The dual of a logistic critic's training, for scores that are linear in a step s.

The primal is the critic's problem on one batch of N samples, real (y = 1) and generated (y = −1),

    min_s  C/2 ‖w + s‖² + 1/N Σ log(1 + exp(−y_i (F_i + a_i·s)))   with  ½‖s‖² ≤ Δ,

and its dual has a variable λ_i in the box [0, 1/N] for each sample. With v = Σ λ_i y_i a_i − C w,

    max_λ  C/2 ‖w‖² − ψ(‖v‖) + 1/N Σ H(N λ_i) − Σ λ_i y_i F_i,     H the binary entropy in nats.

The multiplier λ_T of the trust region has been maximised in closed form: C + λ_T = max(C,
‖v‖/√(2Δ)), which leaves ψ(r) = r²/(2C) below r = C√(2Δ) and r√(2Δ) − CΔ above. The step is
s = v/(C + λ_T).

Source: Li et al., "Dualing GANs", NeurIPS 2017, Claims 1 and 3 (Claim 1 has w = 0 and Δ = ∞).
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class _Solution(NamedTuple):
    """The solved dual.

    Attributes:
        weights: λ_i, shape (N,).
        stiffness: C + λ_T, a scalar.
        norm: ‖s‖, a scalar.
        model: the primal's value at s, a scalar.
        gap: the primal's value less the dual's, at least 0 up to rounding, a scalar.
    """

    weights: tf.Tensor
    stiffness: tf.Tensor
    norm: tf.Tensor
    model: tf.Tensor
    gap: tf.Tensor


def solve(
    gram: tf.Tensor,
    signs: tf.Tensor,
    decay: float,
    steps: int,
    projections: tf.Tensor | float = 0.0,
    scores: tf.Tensor | float = 0.0,
    squared_norm: tf.Tensor | float = 0.0,
    radius: tf.Tensor | float = np.inf,
    tolerance: float = 1e-10,
) -> _Solution:
    """Maximise the dual by Newton's method; float64, in N dimensions whatever the critic's size.

    The iterate is θ, with N λ = σ(−θ), which stays in the box. At the optimum θ_i is the margin
    y_i (F_i + a_i·s).

    Args:
        gram: a_i·a_j, shape (N, N).
        signs: y_i, 1 or −1, shape (N,).
        decay: C, positive.
        steps: maximum number of Newton steps.
        projections: a_i·w, shape (N,).
        scores: F_i, shape (N,).
        squared_norm: ‖w‖², a scalar.
        radius: Δ, positive.
        tolerance: duality gap at which to stop.
    """
    gram, projections, scores, signs, squared_norm, decay, radius = (
        tf.cast(x if tf.is_tensor(x) else np.asarray(x, "float64"), "float64")
        for x in (gram, projections, scores, signs, squared_norm, decay, radius)
    )
    n = tf.cast(tf.shape(signs)[0], "float64")
    gram = gram * signs[:, None] * signs[None]
    projections, scores = signs * projections, signs * scores
    reach = tf.sqrt(2 * radius)  # the longest step

    def at(theta):
        """At an iterate: λ, its products, and the values of primal and dual."""
        weights = tf.sigmoid(-theta) / n
        along = tf.linalg.matvec(gram, weights) - decay * projections  # y_i a_i·v
        squared = tf.reduce_sum(weights * (along - decay * projections))
        squared = tf.maximum(squared + decay**2 * squared_norm, 0.0)  # ‖v‖²
        length = tf.sqrt(squared)
        stiffness = tf.maximum(decay, length / reach)
        margins = scores + along / stiffness
        inner = tf.reduce_sum(weights * projections) - decay * squared_norm  # w·v
        moved = squared_norm + 2 * inner / stiffness + squared / stiffness**2  # ‖w + s‖²
        primal = decay / 2 * moved + tf.reduce_mean(tf.math.softplus(-margins))
        bound = tf.where(stiffness > decay, length * reach - decay * radius, squared / (2 * decay))
        # H(u) = u softplus(θ) + (1 − u) softplus(−θ) at u = σ(−θ)
        entropy = tf.math.softplus(-theta) + n * weights * theta
        dual = decay / 2 * squared_norm - bound + tf.reduce_mean(entropy)
        dual -= tf.reduce_sum(weights * scores)
        return weights, along, squared, stiffness, margins, primal, dual

    def newton(theta):
        """The direction d of (I + K S²) d = margins − θ: K the Hessian of ψ, S² = −dλ/dθ."""
        weights, along, squared, stiffness, margins, _, _ = at(theta)
        pull = tf.where(stiffness > decay, 1 / tf.maximum(squared, 1e-300), 0.0)
        hessian = (gram - pull * along[:, None] * along) / stiffness
        root = tf.sqrt(weights * (1 - n * weights))
        residual = margins - theta
        system = tf.eye(tf.shape(theta)[0], dtype="float64") + root[:, None] * hessian * root
        right = root * residual
        z = tf.linalg.cholesky_solve(tf.linalg.cholesky(system), right[:, None])[:, 0]
        return residual - tf.linalg.matvec(hessian, root * z)

    def unfinished(k, theta):
        *_, primal, dual = at(theta)
        return (k < steps) & (primal - dual > tolerance)

    def step(k, theta):
        """Take the longest of the steps 1, ½, ¼, … along which the dual rises."""
        d, dual = newton(theta), at(theta)[-1]
        size, rises = tf.while_loop(
            lambda size, rises: ~rises & (size > 1e-9),
            lambda size, _: (size / 2, at(theta + size / 2 * d)[-1] >= dual),
            (tf.constant(2.0, "float64"), tf.constant(False)),
        )
        return k + 1, tf.where(rises, theta + size * d, theta)

    _, theta = tf.while_loop(unfinished, step, (0, scores), maximum_iterations=steps)
    weights, _, squared, stiffness, _, primal, dual = at(theta)
    return _Solution(weights, stiffness, tf.sqrt(squared) / stiffness, primal, primal - dual)
