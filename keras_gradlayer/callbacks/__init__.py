"""Callbacks: those that join the compiled training step, and those that watch a run."""

from keras_gradlayer.callbacks.critic_inner_loop import CriticInnerLoop
from keras_gradlayer.callbacks.gradient_penalty import GradientPenalty
from keras_gradlayer.callbacks.step_callback import StepCallback

__all__ = ["CriticInnerLoop", "GradientPenalty", "StepCallback"]
