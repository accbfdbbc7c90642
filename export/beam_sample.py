"""Write many samples with Apache Beam: a shard is an element, wherever the pipeline runs.

pip install 'keras-gradlayer[beam]'
python export/beam_sample.py --model models/sampler --count 100000 --shards 20 --out runs/many
"""

import click
import tensorflow as tf

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.utils import shared
except ImportError as e:
    raise SystemExit("This needs Apache Beam: pip install 'keras-gradlayer[beam]'") from e

import keras_gradlayer as kgl
from keras_gradlayer.commands import console


class WriteShard(beam.DoFn):
    """Shard numbers to how many samples each has; the model is opened once a process."""

    def __init__(self, model, out):
        self.model, self.out, self.handle = model, out, shared.Shared()

    def setup(self):
        """Open the model, or share the one that another thread has opened."""
        if tf.config.list_physical_devices("GPU"):  # the same bytes from every worker
            tf.config.experimental.enable_op_determinism()
        self.sampler = self.handle.acquire(lambda: kgl.serving.SeededSampler(self.model))

    def process(self, shard):
        """Write a shard that is not there yet."""
        yield kgl.serving.write_shard(self.sampler, self.out, shard)


@click.command()
@click.option(
    "--model",
    required=True,
    help="The .keras file, or the folder of an exported sampler, where all workers find it.",
)
@click.option("--out", required=True, help="Folder that all workers write to, such as gs://…")
@click.option("--count", required=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, help="Of the first sample; the next is + 1.")
@click.option("--shards", type=click.IntRange(1), help="One for each 10,000 samples by default.")
@click.option(
    "--format",
    default="tfrecord",
    show_default=True,
    type=click.Choice(kgl.serving.bulk.FORMATS),
)
@click.option("--layers", type=click.IntRange(0), help="Apply the first layers only.")
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1))
@click.option("--resume", is_flag=True, help="Go on with the shards that --out lacks.")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
def main(model, out, beam_options, **settings):
    """Write many samples with Apache Beam, the same as `keras-gradlayer sample` writes.

    BEAM_OPTIONS, after --, are the pipeline's, such as -- --runner=DataflowRunner --project=...
    """
    count = settings["count"]
    shards = kgl.serving.plan_samples(model, out, **settings)
    with beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
        _ = (
            pipeline
            | "shards" >> beam.Create(range(shards))
            | "spread" >> beam.Reshuffle()  # else the runner may fuse them all into one worker
            | "write" >> beam.ParDo(WriteShard(model, out))
        )
    click.echo(f"{count:,} samples: {out}")


if __name__ == "__main__":
    console.run(main)
