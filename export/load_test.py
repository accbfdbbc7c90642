"""Ask a server from many clients at a time, check every answer, and print the latency.

python export/load_test.py --url grpc://localhost:8500 --saved-model models/sampler
"""

import click

import keras_gradlayer as kgl
from keras_gradlayer import console


@click.command()
@click.option("--url", default="grpc://localhost:8500", show_default=True, help="Or http://…:8501.")
@click.option("--model", default="sampler", show_default=True)
@click.option("--version", type=click.IntRange(1), help="A version's number.")
@click.option("--label", help="A version's label, such as stable.")
@click.option("--requests", default=5000, show_default=True, type=click.IntRange(1))
@click.option("--concurrency", default=64, show_default=True, type=click.IntRange(1))
@click.option("--rows", default=1, show_default=True, type=click.IntRange(1), help="A request.")
@click.option(
    "--saved-model", help="What is served, if it lies here: where right answers are from."
)
@click.option("--batch-size", default=64, show_default=True, help="Of the server, at most.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for a request.")
@click.option("--time-limit", default=300.0, show_default=True, help="Seconds for all.")
def main(
    url,
    model,
    version,
    label,
    requests,
    concurrency,
    rows,
    saved_model,
    batch_size,
    timeout,
    time_limit,
):
    """Ask a server from many clients at a time, check every answer, and print the latency."""
    options = {"version": version, "label": label, "batch_size": batch_size, "timeout": timeout}
    with kgl.serving.connect(url, model, **options) as client:
        figures = kgl.serving.load_test(
            client, requests, concurrency, rows, saved_model, time_limit
        )
    click.echo(
        "{requests} requests in {seconds:.1f} s, {concurrency} at a time: "
        "{requests_per_second:.0f} requests and {samples_per_second:.0f} samples a second\n"
        "latency in ms: 50% {p50:.1f}, 90% {p90:.1f}, 99% {p99:.1f}, max {max:.1f}\n"
        "wrong: {wrong}, failed: {failed}".format(**figures, concurrency=concurrency)
    )
    for message, times in figures["errors"].items():
        click.echo(f"  {times} x {message}")
    if figures["requests"] + figures["failed"] < requests:
        click.echo(f"not all {requests} requests were sent within {time_limit:.0f} s")
    return int(figures["wrong"] > 0 or figures["requests"] < requests)


if __name__ == "__main__":
    console.run(main)
