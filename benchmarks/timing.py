"""Times of calls made in turn, and ratios of them: what a busy machine leaves comparable.

Every time is a pair: seconds on the clock, and seconds of all cores that this process used, which
other processes change little.
"""

import os
import time

import numpy as np
import tensorflow as tf


def cores():
    """How many cores this process may use: every side of a comparison uses them all."""
    return len(os.sched_getaffinity(0))


def use_all_cores():
    """Give TensorFlow's operations all cores; call it before TensorFlow does anything."""
    tf.config.threading.set_intra_op_parallelism_threads(cores())


def now():
    """The time, as a pair; only differences mean anything."""
    return np.array([time.perf_counter(), time.process_time()])


def timed(call):
    """The time that a call takes, and what it returns."""
    start = now()
    result = call()
    return now() - start, result


def interleaved(calls, repeats, warmup=3):
    """Times of each call in `repeats` rounds of them all, after a warm-up."""
    times = [[] for _ in calls]
    for i in range(repeats + warmup):
        for call, taken in zip(calls, times):
            took, _ = timed(call)
            if i >= warmup:
                taken.append(took)
    return times


def medians(calls, repeats):
    """The median seconds of each call."""
    return [np.median(taken, axis=0)[0] for taken in interleaved(calls, repeats)]


def ratio(a, b):
    """The median of a / b over rounds, with their 10th to 90th percentile, as text."""
    low, middle, high = np.percentile(np.divide(a, b), [10, 50, 90], axis=0)
    return f"{middle[0]:.2f} ({low[0]:.2f}-{high[0]:.2f}; CPU time {middle[1]:.2f})"
