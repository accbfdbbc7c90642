import sys

from keras_gradlayer import _tfgan


def test_only_the_parts_that_work_are_loaded():
    assert callable(_tfgan.losses.wasserstein_gradient_penalty)
    assert callable(_tfgan.classifier_metrics.classifier_score_from_logits)
    assert "tensorflow_gan" not in sys.modules  # whoever imports it gets its own error, not a shell
