"""Where the adversarial loop stands."""

import collections
import dataclasses

import keras

from keras_gradlayer.trainers._feed import Feed

# The compiled steps, and what they were traced for.
Programs = collections.namedtuple("Programs", ["key", "updates", "move"])


@dataclasses.dataclass
class LoopState:
    """Where a trainer's loop stands.

    Attributes:
        since_move: critic updates since the generator last moved; saved with the trainer.
        critic_steps: critic updates before each move.
        epoch_steps: updates in an epoch, `None` where only going through the data tells.
        epoch_updates: updates in this epoch so far.
        skip: batches to pass over before the first update, since an interrupted run took them.
        taken: updates that it took in the epoch that the next fit begins with.
        feed: where the batches come from.
        callbacks: the step callbacks that have joined.
        fitting: whether `fit` drives the loop, and not `train_on_batch`.
        verbose: whether that fit shows its progress.
        started: whether the present fit has taken its first update.
        ready: whether what the updates need is as it was when they were last taken.
        checked: whether the present data have been checked, or the first batch by hand.
        bad_batches: how many batches of this fit were not finite; of one replica alone.
        programs: the compiled steps.
        variables: what step callbacks change while programs run, by class and name.
    """

    since_move: int = 0
    critic_steps: int = 1
    epoch_steps: int | None = None
    epoch_updates: int = 0
    skip: int = 0
    taken: int = 0
    feed: Feed = dataclasses.field(init=False, repr=False)
    callbacks: list = dataclasses.field(default_factory=list)
    fitting: bool = False
    verbose: bool = False
    started: bool = False
    ready: bool = False
    checked: bool = False
    bad_batches: keras.Variable = dataclasses.field(
        default_factory=lambda: keras.Variable(0.0, trainable=False, dtype="float32")
    )
    programs: Programs | None = None
    variables: dict = dataclasses.field(default_factory=dict)

    def left(self, steps: int) -> int:
        """How many of so many steps fall into this epoch."""
        if self.epoch_steps is None:
            return steps
        return min(steps, self.epoch_steps - self.epoch_updates)

    def new_run(self, feed: Feed, *, fitting: bool) -> None:
        """Begin with other batches; those by hand go on where the last by hand ended."""
        if fitting or self.fitting:
            self.started, self.ready = False, False
        if fitting:
            self.bad_batches.assign(0.0)
        elif self.fitting:
            self.checked = False
        self.feed, self.fitting, self.epoch_updates = feed, fitting, 0

    def inner_loops(self) -> list[int]:
        """What the callbacks that set it say of critic updates before each move."""
        return [c.critic_steps for c in self.callbacks if c.critic_steps is not None]

    def take(self, steps: int) -> None:
        """Count steps that were taken."""
        self.feed.used(steps)
        self.epoch_updates += steps
        self.since_move += steps
