"""Scores of samples."""

from keras_gradlayer.metrics.classifier_score import classifier_score
from keras_gradlayer.metrics.frechet_distance import frechet_distance
from keras_gradlayer.metrics.mode_coverage import ModeCoverage, mode_coverage
from keras_gradlayer.metrics.stacked_mode_coverage import (
    StackedModeCoverage,
    stacked_mode_coverage,
)

__all__ = [
    "ModeCoverage",
    "StackedModeCoverage",
    "classifier_score",
    "frechet_distance",
    "mode_coverage",
    "stacked_mode_coverage",
]
