"""Scores of samples during a run."""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from keras_gradlayer import _checks
from keras_gradlayer._files import write_text
from keras_gradlayer.callbacks._watcher import Watcher, output_range_of
from keras_gradlayer.metrics._measure import (
    check_comparable,
    check_monitor,
    check_scorer,
    loss_of,
    main_score,
    measure,
)
from keras_gradlayer.metrics.scorer import Scorer, ScoreReport


class Scores(Watcher):
    """Scores samples every few epochs, into the logs, and can end at the best depth.

    Use it to see whether each layer helped. Put it before the callbacks that read the logs, such
    as `EarlyStopping`, `ModelCheckpoint`, `CSVLogger`, `TensorBoard` and `BackupAndRestore`; in
    epochs between, the logs repeat the last scores. A run that gains no more is ended by
    `EarlyStopping("frechet_distance", mode="min", patience=3)`.

    The samples come from fixed latents, which no training sees. With a `FineTuner` they are carried
    along layer by layer: scoring costs the same at any depth, and the memory of the positions.

    Args:
        scorer: a `kgl.metrics.Scorer`, which is told the range of the generator's output
            activation, or any function of an array of samples that gives a dict of
            floats, such as
            `lambda x: {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(held_out, x)}`.
        every: score after every so many epochs, and before the first and after the last.
        samples: how many; those of a `Scorer` by default, else 10,000.
        seed: integer that the latents follow from.
        restore_best_layers: for a `FineTuner`: when the run ends, go back to the layers and the
            critic of the best score. Depth 0 counts; the critic then stays as it is. After an
            interrupted run `tuner.rollback(scores.best["layers"])` does the same. Where one epoch
            stacks several layers (`LineSearch`), only its last depth is scored.
        monitor: name of the score that says what is best: for a `Scorer` the Fréchet distance, for
            a function the first that it gives.
        mode: "min" or "max"; by default "max" for the scores of a `Scorer` that are better when
            higher, and "min" for all others.
        path: JSON file for all scores and their conditions, which a resumed run goes on with.

    Attributes:
        history: a list of dicts: `epoch`, `layers` (for a `FineTuner`) and the scores.
        conditions: what the scores of a `Scorer` depend on beyond the samples.

    Raises:
        TypeError: for a trainer without layers, if the best are to be restored.
        ValueError: for arguments out of range, a function that gives no scores, or a `path` with
            something else, the scores of another run, or scores under other conditions.

    Example:
        >>> x = np.random.default_rng(0).uniform(-1, 1, (512, 2)).astype("float32")
        >>> x, held_out = x[:256], x[256:]
        >>> def score(samples):
        ...     return {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(held_out, samples)}
        >>> tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,)), step_size=0.1)
        >>> tuner.compile()
        >>> scores = Scores(score, samples=256)
        >>> callbacks = [kgl.callbacks.GradientPenalty(), scores]
        >>> logs = tuner.fit(x, batch_size=64, callbacks=callbacks, verbose=0).history
        >>> [entry["layers"] for entry in scores.history]
        [0, 1]
    """

    def __init__(
        self,
        scorer: Scorer | Callable[[np.ndarray], dict[str, float]],
        every: int = 1,
        samples: int | None = None,
        seed: int = 0,
        restore_best_layers: bool = False,
        monitor: str | None = None,
        mode: str | None = None,
        path: str | os.PathLike | None = None,
    ):
        check_scorer(scorer)
        if not _checks.among(mode, (None, "min", "max")):
            raise ValueError(f'`mode` must be "min" or "max". Received: mode={mode!r}')
        if samples is None:
            samples = getattr(scorer, "count", 10_000)
        super().__init__(samples, seed, every)
        if monitor is not None:
            _checks.instance_of("monitor", monitor, str, "the name of a score or None")
        if path is not None:
            _checks.path("path", path)
        check_monitor(scorer, monitor)
        self.scorer, self.monitor, self.mode = scorer, monitor, mode
        self.restore_best_layers = _checks.boolean("restore_best_layers", restore_best_layers)
        self.path = None if path is None else pathlib.Path(path)
        self.history: list[dict] = []
        self.conditions: dict[str, str | int] = {}

    def set_model(self, model: keras.Model) -> None:
        """Check that the model's samples can be drawn, and that it has what is to be restored."""
        super().set_model(model)
        if self.restore_best_layers and not hasattr(model, "rollback"):
            raise TypeError(
                "`restore_best_layers` is for a kgl.FineTuner, which has layers. "
                f"Received: a {type(model).__name__}"
            )
        self._value_range = output_range_of(model)
        if isinstance(self.scorer, Scorer):
            self.conditions = self.scorer.conditions(self.samples, tuple(model.sample_shape))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Score, and put the scores into the logs."""
        super().on_epoch_end(epoch)
        if logs is not None:
            logs.update(self._scores_of(self.history[-1]))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Go back to the best depth, if that is wanted."""
        if self._seen is None:  # resumed where no epoch was left
            self._begin(self.params.get("epochs") or 0)
        elif self.history[-1]["epoch"] != self._seen:
            self._look(self._seen)  # stopped by a callback that comes after this one
        if self.restore_best_layers:
            self.model.rollback(self.best["layers"])

    @property
    def best(self) -> dict:
        """The entry of `history` with the best score; the first of those that are equal."""
        if not self.history:
            raise ValueError("There are no scores yet. Expected a fit with this callback first.")
        return min(self.history, key=lambda h: loss_of(h, self.monitor, self.mode))

    def _begin(self, epoch):
        """Score the state that a fit begins with, unless it has been scored."""
        self._depth = None
        state = {"epoch": epoch, **self._layers()}
        history = [h for h in self.history if h["epoch"] <= epoch] or self._read(epoch)
        # A run's first state is its own, and layers that were dropped cannot be gone back to.
        depth = state.get("layers", 0)
        self.history = [h for h in history if epoch and h.get("layers", 0) <= depth]
        if not any(state.items() <= h.items() for h in self.history):
            self._look(epoch)
        self.monitor = main_score(self.scorer, self._scores_of(self.history[-1]), self.monitor)
        if self.restore_best_layers and not epoch:
            check_comparable(self._scores_of(self.history[-1]), self.monitor)

    def _layers(self):
        return {"layers": self.model.stack.depth} if hasattr(self.model, "stack") else {}

    def _look(self, epoch):
        depth = self._layers()
        if depth and depth == self._depth:  # no layer since
            scores = self._scores_of(self.history[-1])
        else:
            scores = measure(self.scorer, self._followed.batches(), self._value_range)
            self.monitor = main_score(self.scorer, scores, self.monitor)
        self._depth = depth
        self.history = [h for h in self.history if h["epoch"] != epoch]
        self.history.append({"epoch": epoch, **depth, **scores})
        if self.path is not None:
            record = {"conditions": self.conditions, "scores": self.history}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(record, indent=1) + "\n")

    def _read(self, epoch):
        """The scores that an interrupted run has written before this epoch."""
        if self.path is None or not self.path.exists():
            return []
        record = None
        with contextlib.suppress(ValueError):  # of no JSON, or no text
            record = json.loads(self.path.read_text())
        if not (isinstance(record, dict) and record.keys() == {"conditions", "scores"}):
            raise ValueError(f"`path` must not exist, or hold scores. Received: {self.path}")
        if not epoch and any(h["epoch"] for h in record["scores"]):
            raise ValueError(
                f"`path` must not exist when a run begins. Received: {self.path}, with the scores "
                "of another run."
            )
        before = ScoreReport({}, record["conditions"])
        if differences := ScoreReport({}, self.conditions).differs_from(before):
            raise ValueError(
                f"The scores in {self.path} do not compare with those of this scorer. "
                f"Expected equal conditions. Received: {'; '.join(differences)}"
            )
        return [h for h in record["scores"] if h["epoch"] <= epoch]

    @staticmethod
    def _scores_of(entry):
        return {name: v for name, v in entry.items() if name not in ("epoch", "layers")}
