"""Scores of samples during a run."""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from keras_gradlayer import _checks
from keras_gradlayer.metrics._measure import (
    check_monitor,
    check_scorer,
    conditions_of,
    loss_of,
    main_score,
    measure,
)
from keras_gradlayer.metrics.scorer import Scorer, ScoreReport
from keras_gradlayer.models._followed import Followed


class Scores(keras.callbacks.Callback):
    """Scores samples every few epochs, into the logs, and can end at the best depth.

    Use it to see whether each layer helped. What it writes into the logs is seen by the callbacks
    that come after it, so put it before `EarlyStopping`, `ModelCheckpoint`, `CSVLogger`,
    `TensorBoard` and `BackupAndRestore`; in epochs between, the logs repeat the last scores.
    `EarlyStopping("frechet_distance", mode="min", patience=3)` ends a run that gains no more.

    The samples come from latents of its own, the same each time, which no training sees. With a
    `FineTuner` they are carried along layer by layer, so that a look costs the same at any depth;
    they take `samples` times the bytes of a position in memory.

    Args:
        scorer: a `kgl.metrics.Scorer`, or any function of an array of samples that gives a dict of
            floats, such as
            `lambda x: {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(held_out, x)}`.
        every: epochs from one look to the next; the state before the first epoch and that after
            the last are scored, too.
        samples: how many; those of a `Scorer` by default, else 10,000.
        seed: integer that the latents follow from.
        restore_best_layers: for a `FineTuner`: drop the layers above the depth of the best score
            when the run ends, and go back to that depth's critic. Depth 0, no layer at all, counts;
            the critic then stays as it is. A run that is interrupted ends as it is:
            `tuner.rollback(scores.best["layers"])` does the same afterwards. Where one epoch stacks
            several layers (`LineSearch`), only the depth at its end is scored.
        monitor: name of the score that says what is best: for a `Scorer` the Fréchet distance, for
            a function the first that it gives.
        mode: "min" or "max"; by default "max" for the scores of a `Scorer` that are better when
            higher, and "min" for all others.
        path: JSON file to write all scores to, with their conditions; folders are made for it. A
            run that is gone on with finds its earlier scores there.

    Attributes:
        history: a list of dicts, one for each look: `epoch`, `layers` (for a `FineTuner`) and the
            scores.
        conditions: what the scores of a `Scorer` depend on beyond the samples.

    Raises:
        TypeError: for a trainer without layers, if the best are to be restored.
        ValueError: for arguments out of range, a function that gives no scores, a `path` with
            something else or the scores of another run, or one whose scores do not compare with
            those of this scorer.

    Example: `tuner.fit(data, epochs=20, callbacks=[Scores(scorer, restore_best_layers=True)])`
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
        super().__init__()
        check_scorer(scorer)
        if mode not in (None, "min", "max"):
            raise ValueError(f'`mode` must be "min" or "max". Received: mode={mode!r}')
        self.scorer, self.seed = scorer, seed
        self.every = _checks.positive_int("every", every)
        samples = getattr(scorer, "count", 10_000) if samples is None else samples
        self.samples = _checks.positive_int("samples", samples)
        self.restore_best_layers = restore_best_layers
        check_monitor(scorer, monitor)
        self.monitor, self.mode = monitor, mode
        self.path = None if path is None else pathlib.Path(path)
        self.history, self.conditions = [], {}
        self._followed = None

    def set_model(self, model: keras.Model) -> None:
        """Check that the model is one whose samples can be drawn."""
        super().set_model(model)
        if not hasattr(model, "latent"):
            raise TypeError(
                f"Scores is for models with a `latent`. Received: a {type(model).__name__}"
            )
        if self.restore_best_layers and not hasattr(model, "rollback"):
            raise TypeError(
                "`restore_best_layers` is for a kgl.FineTuner, which has layers. "
                f"Received: a {type(model).__name__}"
            )
        self._followed = Followed(model, self.samples, self.seed)
        self.conditions = conditions_of(self.scorer, self.samples, tuple(model.sample_shape))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Score the state before the first epoch."""
        # Not in on_train_begin: a model that goes on from a backup is restored only there.
        if self._seen is None:
            self._begin(epoch)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forget which epoch a fit before this one began with."""
        self._seen = self._depth = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Score, and put the scores into the logs."""
        self._seen = epoch + 1
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        if (epoch + 1) % self.every == 0 or last:
            self._look(epoch + 1)
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
        """Look at the state that a fit begins with, unless it has been looked at."""
        self._seen = epoch
        self._read(epoch)
        # A run's first state is its own, and layers that were dropped cannot be gone back to.
        depth = self._layers().get("layers", 0)
        self.history = [h for h in self.history if epoch and h.get("layers", 0) <= depth]
        state = {"epoch": epoch, **self._layers()}
        if not any(state.items() <= h.items() for h in self.history):
            self._look(epoch)
        self.monitor = main_score(self.scorer, self._scores_of(self.history[-1]), self.monitor)

    def _layers(self):
        return {"layers": self.model.stack.depth} if hasattr(self.model, "stack") else {}

    def _look(self, epoch):
        depth = self._layers()
        if depth and depth == self._depth:  # no layer since
            scores = self._scores_of(self.history[-1])
        else:
            scores = measure(self.scorer, self._followed.batches())
            self.monitor = main_score(self.scorer, scores, self.monitor)
        self._depth = depth
        self.history = [h for h in self.history if h["epoch"] != epoch]
        self.history.append({"epoch": epoch, **depth, **scores})
        if self.path is not None:
            record = {"conditions": self.conditions, "scores": self.history}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(record, indent=1) + "\n")

    def _read(self, epoch):
        """The scores that an interrupted run has written before this epoch."""
        self.history = [h for h in self.history if h["epoch"] <= epoch]
        if self.history or self.path is None or not self.path.exists():
            return
        record = None
        with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
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
        self.history = [h for h in record["scores"] if h["epoch"] <= epoch]

    @staticmethod
    def _scores_of(entry):
        return {name: v for name, v in entry.items() if name not in ("epoch", "layers")}
