"""Ask a server from many clients at a time, and check every answer by its seed, with Locust.

pip install 'keras-gradlayer[load-test]'
locust -f export/load_test.py --headless -u 64 -r 64 -t 1m -H grpc://localhost:8500
"""

import itertools
import pathlib
import time

import numpy as np
from grpc.experimental.gevent import init_gevent
from locust import User, events, task

import keras_gradlayer as kgl

init_gevent()  # Locust's clients are greenlets
SEEDS = np.arange(256)
# Of the largest value: a batch of another size, or another device, rounds the last bits otherwise.
TOLERANCE = 1e-4


class WrongAnswer(Exception):
    """An answer that is not its seed's."""


@events.init_command_line_parser.add_listener
def add_options(parser):
    """Options beside Locust's own, of which -H is the address, also http://localhost:8501."""
    parser.set_defaults(host="grpc://localhost:8500")
    parser.add_argument("--model", default="sampler", help="Its name on the server.")
    parser.add_argument("--model-version", type=int, help="A version's number.")
    parser.add_argument("--label", help="A version's label, such as stable.")
    parser.add_argument("--rows", type=int, default=1, help="Samples a request.")
    parser.add_argument("--batch-size", type=int, default=64, help="Of the server, at most.")
    parser.add_argument("--timeout", type=float, default=30.0, help="Seconds for a request.")
    parser.add_argument(
        "--saved-model",
        help="What is served, if it lies here, to compare with; else the server is asked for one "
        "row at a time, and then it is rows mixed up in a batch that show.",
    )


@events.init.add_listener
def prepare(environment, **kwargs):
    """Get the right answers."""
    options = environment.parsed_options
    try:
        with connect(options) as client:
            client.sample(SEEDS[:1])  # is there a server at all?
            if options.saved_model is None:
                expected = np.concatenate([client.sample(SEEDS[i : i + 1]) for i in SEEDS])
            else:
                folder = pathlib.Path(options.saved_model)
                version = folder / str(options.model_version)
                served = version if version.is_dir() else folder
                expected = kgl.serving.connect(served).sample(SEEDS)
    except (OSError, ValueError, RuntimeError) as e:
        raise SystemExit(f"load_test: {e}") from e
    environment.expected, environment.numbers = expected, itertools.count()


def connect(options):
    """A client of the server."""
    which = {"version": options.model_version, "label": options.label}
    limits = {"batch_size": options.batch_size, "timeout": options.timeout}
    return kgl.serving.connect(options.host, options.model, **which, **limits)


class Client(User):
    """Asks for samples, one request after the other."""

    def on_start(self):
        """Connect to the server."""
        self.sampler = connect(self.environment.parsed_options)

    def on_stop(self):
        """Close the connection."""
        self.sampler.close()

    @task
    def sample(self):
        """Ask for the samples of some seeds, and look whether they are those."""
        options, expected = self.environment.parsed_options, self.environment.expected
        first = next(self.environment.numbers) * options.rows
        seeds = (first + np.arange(options.rows)) % len(SEEDS)
        atol, error, samples = TOLERANCE * max(1, np.abs(expected).max()), None, np.empty(0)
        start = time.perf_counter()
        try:
            samples = self.sampler.sample(seeds)
            same = samples.shape == expected[seeds].shape
            if not same or not np.allclose(samples, expected[seeds], rtol=0, atol=atol):
                error = WrongAnswer("an answer is not its seed's")
        except (OSError, ValueError, RuntimeError) as e:
            error = e
        self.environment.events.request.fire(
            request_type=options.host.split(":")[0],
            name="sample",
            response_time=1000 * (time.perf_counter() - start),
            response_length=samples.nbytes,
            exception=error,
            context={},
        )
