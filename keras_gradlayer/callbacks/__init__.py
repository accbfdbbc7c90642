"""Callbacks: those that join the compiled training step, and those that watch a run."""

from keras_gradlayer.callbacks.consistency_penalty import ConsistencyPenalty
from keras_gradlayer.callbacks.critic_inner_loop import CriticInnerLoop
from keras_gradlayer.callbacks.dragan_penalty import DRAGANPenalty
from keras_gradlayer.callbacks.flow_monitor import FlowMonitor
from keras_gradlayer.callbacks.generator_gradient_regularizer import GeneratorGradientRegularizer
from keras_gradlayer.callbacks.gradient_layers import GradientLayers
from keras_gradlayer.callbacks.gradient_penalty import GradientPenalty
from keras_gradlayer.callbacks.instance_noise import InstanceNoise
from keras_gradlayer.callbacks.label_smoothing import LabelSmoothing
from keras_gradlayer.callbacks.r1_penalty import R1Penalty
from keras_gradlayer.callbacks.r2_penalty import R2Penalty
from keras_gradlayer.callbacks.sample_grid import SampleGrid
from keras_gradlayer.callbacks.scores import Scores
from keras_gradlayer.callbacks.step_callback import StepCallback
from keras_gradlayer.callbacks.weight_clipping import WeightClipping

__all__ = [
    "ConsistencyPenalty",
    "CriticInnerLoop",
    "DRAGANPenalty",
    "FlowMonitor",
    "GeneratorGradientRegularizer",
    "GradientLayers",
    "GradientPenalty",
    "InstanceNoise",
    "LabelSmoothing",
    "R1Penalty",
    "R2Penalty",
    "SampleGrid",
    "Scores",
    "StepCallback",
    "WeightClipping",
]
