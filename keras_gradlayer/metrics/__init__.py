"""Scores of samples."""

from keras_gradlayer.metrics.classifier_score import (
    SplitScore,
    classifier_score,
    split_classifier_score,
)
from keras_gradlayer.metrics.classifiers import Classifier
from keras_gradlayer.metrics.frechet_distance import frechet_distance
from keras_gradlayer.metrics.kernel_distance import kernel_distance
from keras_gradlayer.metrics.mode_coverage import (
    ModeCoverage,
    StackedModeCoverage,
    mode_coverage,
    stacked_mode_coverage,
)
from keras_gradlayer.metrics.precision_recall import PrecisionRecall, precision_recall
from keras_gradlayer.metrics.scorer import Scorer, ScoreReport, sample_batches
from keras_gradlayer.metrics.sliced_wasserstein import sliced_wasserstein

__all__ = [
    "Classifier",
    "ModeCoverage",
    "PrecisionRecall",
    "ScoreReport",
    "Scorer",
    "SplitScore",
    "StackedModeCoverage",
    "classifier_score",
    "frechet_distance",
    "kernel_distance",
    "mode_coverage",
    "precision_recall",
    "sample_batches",
    "sliced_wasserstein",
    "split_classifier_score",
    "stacked_mode_coverage",
]
