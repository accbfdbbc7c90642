"""What naming the algorithm of random numbers saves under XLA: Keras' time over this package's.

python benchmarks/random_numbers.py
"""

import statistics
import time

import keras
import tensorflow as tf

import keras_gradlayer as kgl

SHAPE = (512, 256)


def main():
    streams = [keras.random.SeedGenerator(0) for _ in "ab"]
    latent = kgl.latents.Gaussian(SHAPE[1:])
    theirs = tf.function(lambda: keras.random.normal(SHAPE, seed=streams[0]), jit_compile=True)
    ours = tf.function(lambda: latent.sample(SHAPE[0], streams[1]), jit_compile=True)
    ratios = []
    for i in range(31):
        times = []
        for draw in (theirs, ours):
            start = time.perf_counter()
            draw()
            times.append(time.perf_counter() - start)
        if i:  # the first compiles
            ratios.append(times[0] / times[1])
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"{SHAPE} normal numbers: {middle:.1f} times as fast ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
