"""What importing the package costs, as ratios against what it stands on.

    python benchmarks/import_time.py --repeats 9

Every statement runs in a process of its own, in turns, and the medians are compared: of the time on
the clock, and in brackets of the CPU time, which other work on the machine changes less.
"""

import os
import statistics
import subprocess
import sys
import time

import click

PACKAGE = ["-c", "import keras_gradlayer"]
KERAS = ["-c", "import keras"]
TENSORFLOW = ["-c", "import tensorflow"]
HELP = [
    "-c",
    "from importlib.metadata import entry_points\n"
    "[script] = entry_points(group='console_scripts', name='keras-gradlayer')\n"
    "import sys; sys.argv = ['keras-gradlayer', '--help']; script.load()()",
]


def seconds(arguments):
    """The time of one process: on the clock, and of the CPU."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


@click.command(help=__doc__)
@click.option("--repeats", default=7, show_default=True)
def main(repeats):
    commands = [PACKAGE, KERAS, HELP, TENSORFLOW]
    for command in commands:
        seconds(command)  # compiles to bytecode and fills the disk's cache
    times = [[seconds(command) for command in commands] for _ in range(repeats)]
    medians = [tuple(map(statistics.median, zip(*runs))) for runs in zip(*times)]
    package, keras, shown, tensorflow = medians
    for name, ours, theirs in (
        ("import keras_gradlayer / import keras", package, keras),
        ("keras-gradlayer --help / import tensorflow", shown, tensorflow),
    ):
        wall, cpu = (a / b for a, b in zip(ours, theirs))
        click.echo(f"{name}: {wall:.2f} (CPU {cpu:.2f}), of {theirs[0]:.1f} s")


if __name__ == "__main__":
    main()
