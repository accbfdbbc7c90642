"""How many of eight narrow Gaussians a plain, a regularised and an unrolled GAN hold at last.

Figure 1 of Nagarajan & Kolter (2017), over several seeds: the modes that any of 2,000 samples lies
within ten standard deviations of, the smallest share that a mode has of the samples, the share
within ten standard deviations, and the first of the looks, every 1,000 iterations, from which on
every mode has at least 5% of the samples.

    python benchmarks/mode_collapse.py --seeds 3 --iterations 25000 --out results.json
"""

import argparse
import json
import pathlib

import keras

from keras_gradlayer.experiments import mode_collapse

EVERY = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=25_000)
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write, new")
    arguments = parser.parse_args()
    if arguments.out and arguments.out.exists():
        parser.error(f"--out: {arguments.out} exists, and is not written over")
    rows = []
    for seed in range(arguments.seeds):
        for method in mode_collapse.METHODS:
            keras.utils.set_random_seed(seed)
            samples = mode_collapse.train(method, arguments.iterations, EVERY)
            found = [mode_collapse.coverage(s) for s in samples]
            lost = [i for i, f in enumerate(found) if f.shares.min() < 0.05]
            last = found[-1]
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "iterations": arguments.iterations,
                    "modes": last.modes,
                    "least_share": round(float(last.shares.min()), 4),
                    "within": round(last.within, 4),
                    "held_from": (lost[-1] + 1) * EVERY if lost[-1] + 1 < len(found) else None,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
