"""Plants faults in a copy of the package, one at a time, and says which the tests catch.

    make mutants
    python tests/mutants.py penalty     # those with this text in file or fault

Each fault is one sign or constant. The tests named beside it must pass without it and fail with it.
A fault whose text is no longer in the file is an error: put the line as it is now in the table.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
# The contracts compare a trainer with itself, so a wrong sign passes them: they would cost time.
ORACLES = "not contract and not modes and not stock_callbacks"


@dataclasses.dataclass(frozen=True)
class Mutant:
    file: str
    old: str
    new: str
    tests: str

    def __str__(self):
        return f"{self.file}: {self.old}  ->  {self.new}"


MUTANTS = [
    Mutant(
        "layers/_steps.py",
        "z = z + step_size * gradient",
        "z = z - step_size * gradient",
        "tests/layers/test_gradient_layer.py",
    ),
    Mutant(
        "layers/_steps.py",
        "(i + 1, step(i, z, gradient(z)))",
        "(i + 1, step(i, z, first))",
        "tests/layers/test_gradient_layer_stack.py",
    ),
    Mutant(
        "layers/gradient_layer_stack.py",
        "ops.where(k < row_layers, moved, z)",
        "ops.where(k <= row_layers, moved, z)",
        "tests/layers/test_gradient_layer_stack.py",
    ),
    Mutant(
        "callbacks/gradient_penalty.py",
        "- self.target",
        "+ self.target",
        "tests/callbacks/test_gradient_penalty.py",
    ),
    Mutant(
        "callbacks/gradient_penalty.py",
        "(1 - epsilon) * fake",
        "(1 + epsilon) * fake",
        "tests/callbacks/test_gradient_penalty.py",
    ),
    Mutant(
        "callbacks/instance_noise.py",
        "1 - epoch / self.decay_epochs",
        "1 + epoch / self.decay_epochs",
        "tests/callbacks/test_instance_noise.py",
    ),
    Mutant(
        "trainers/adversarial_model.py",
        "loss = penalty - value",
        "loss = penalty + value",
        "tests/trainers/test_gan.py",
    ),
    Mutant(
        "trainers/particles.py",
        "return norm / count, gone / count",
        "return norm * count, gone / count",
        "tests/trainers/test_loop.py",
    ),
    Mutant(
        "trainers/gan.py",
        'loss += self.terms("generator_loss"',
        'loss -= self.terms("generator_loss"',
        "tests/callbacks/test_generator_gradient_regularizer.py",
    ),
    Mutant(
        "trainers/_lookahead.py",
        "v.assign(v - self._step_size * gradient)",
        "v.assign(v + self._step_size * gradient)",
        "tests/trainers/test_unrolled_gan.py",
    ),
]


def run_tests(folder, tests):
    """The exit status of pytest in `folder` on its own copy of the package, and its output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-k", ORACLES, "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [*command, *tests], cwd=folder, env=environment, capture_output=True, text=True
    )
    if result.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
        sys.exit(f"pytest stopped with status {result.returncode}:\n{result.stdout[-3000:]}")
    return result.returncode, result.stdout


def plant(folder, mutant):
    """Put the fault in; the text as it was."""
    path = folder / "keras_gradlayer" / mutant.file
    if not path.exists():
        sys.exit(f"No such file: {mutant.file}. Mend the table of tests/mutants.py.")
    text = path.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(
            f"Expected to find this once in {mutant.file}: {mutant.old}\n"
            f"Received: {text.count(mutant.old)} times. Mend the table of tests/mutants.py."
        )
    path.write_text(text.replace(mutant.old, mutant.new))
    return path, text


def main(words):
    chosen = [m for m in MUTANTS if all(word in str(m) for word in words)]
    if not chosen:
        sys.exit(f"No fault has {' and '.join(words)} in it.")
    escaped = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for part in ("keras_gradlayer", "tests"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "setup.cfg", folder)
        for mutant in chosen:  # every text is found before the first test runs
            path, text = plant(folder, mutant)
            path.write_text(text)
        status, output = run_tests(folder, sorted({m.tests for m in chosen}))
        if status:
            sys.exit(f"The tests fail without a fault:\n{output[-3000:]}")
        for mutant in chosen:
            path, text = plant(folder, mutant)
            start = time.perf_counter()
            status, output = run_tests(folder, [mutant.tests])
            path.write_text(text)
            escaped += not status
            failed = [line.split()[1] for line in output.splitlines() if line[:7] == "FAILED "]
            verdict = f"caught by {failed[0]}" if failed else "caught" if status else "NOT CAUGHT"
            print(f"{mutant}\n    {verdict}, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{len(chosen) - escaped} of {len(chosen)} faults caught")
    return int(escaped > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
