"""How fast is it? This library beside its rivals, each in a separate process, one step of each in turn.

    python scripts/benchmark.py train|attack|memory|growth|startup|all [--json FILE] [--rounds 5] ...

A round runs one step of every contender, one after the other; what is reported is the median and the spread of the
ratio within a round, so that a machine whose speed drifts does not matter. Rivals that are not installed are named and
skipped; `pip install -r scripts/requirements-rivals.txt`, into a separate environment, installs them (--python names
its interpreter).
"""

import argparse
import functools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
TRAINING = ("ours", "keras_layers", "cleverhans_graph", "art", "torch_loop", "floor")
"""Contenders of `train`; the first is the one that the others are held against."""

GROWTH = {"steps": (1, 3, 14), "width": (2.0,), "batch": (32, 256), "image": (64,)}
"""What `growth` changes, one at a time."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work: a module with `build`, such as `"rivals.ours"`, and its settings."""

    title: str
    module: str
    settings: dict
    environment: dict = field(default_factory=dict)


class Worker:
    """A contender in a separate process, which starts at once; `greeting` waits until it is ready."""

    def __init__(self, contender, python):
        command = [python, "-m", "rivals.worker", contender.module, json.dumps(contender.settings)]
        environment = os.environ | contender.environment
        self.title = contender.title
        self.complaints = Path(tempfile.mkstemp(prefix="rival-")[1])
        with open(self.complaints, "w") as complaints:
            self.process = subprocess.Popen(
                command,
                cwd=SCRIPTS,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env=environment,
            )

    @functools.cached_property
    def greeting(self):
        return self._answer()

    def step(self):
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.complaints.unlink()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        raise RuntimeError(f"{self.title} died:\n{self.complaints.read_text()[-2000:]}")


def measure(contenders, rounds, python):
    """Seconds and peak memory of each contender in each round.

    Returns:
        A dict from title to a list of answers, in the order of the rounds; contenders that are missing are left out.
    """
    workers = []
    for contender in contenders:
        print(f"starting {contender.title}", file=sys.stderr, flush=True)
        worker = Worker(contender, python)
        if "missing" in worker.greeting:
            print(f"skipped: {contender.title} ({worker.greeting['missing']})")
        else:
            workers.append(worker)
    results = {worker.title: [] for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            results[worker.title].append(worker.step())
    for worker in workers:
        worker.close()
    return results


def print_table(results, images):
    """Images a second, and how many times faster the first contender is than each, within a round."""
    ours = next(iter(results))
    print(f"\n{'':<32} {'images/s':>9} {'ratio':>7} {'lowest':>7} {'highest':>7}")
    for title, answers in results.items():
        ratios = [theirs["seconds"] / mine["seconds"] for theirs, mine in zip(answers, results[ours], strict=True)]
        rate = images / statistics.median(answer["seconds"] for answer in answers)
        print(f"{title:<32} {rate:>9.1f} {statistics.median(ratios):>7.2f} {min(ratios):>7.2f} {max(ratios):>7.2f}")


def settings_of(options, **changes):
    return {
        "network": options.network,
        "batch": options.batch,
        "steps": options.steps,
        "precision": "float32",
        "noise": "channel",
    } | changes


def train(options):
    """One training step of every contender, in float32 and bfloat16, and this library without noise."""
    results = {}
    for precision in options.precision:
        settings = settings_of(options, precision=precision)
        contenders = [Contender(name, f"rivals.{name}", settings) for name in options.only or TRAINING]
        contenders.append(Contender("ours, no noise", "rivals.ours", settings | {"noise": "none"}))
        print(f"\ntrain: {options.network}, {precision}, batch {options.batch}, PGD-{options.steps}")
        results[precision] = measure(contenders, options.rounds, options.python)
        print_table(results[precision], options.batch)
    return results


def attack(options):
    """PGD-20 over 1,000 images, this library's evaluation against cleverhans called eagerly."""
    results = {}
    for precision in options.precision:
        settings = settings_of(options, batch=1000, steps=20, precision=precision)
        contenders = [
            Contender("ours", "rivals.our_attack", settings),
            Contender("cleverhans", "rivals.cleverhans_eager", settings),
        ]
        print(f"\nattack: {options.network}, {precision}, PGD-20 on 1,000 images")
        results[precision] = measure(contenders, options.rounds, options.python)
        print_table(results[precision], 1000)
    return results


def memory(options):
    """Peak memory of the process after steps with 40 attack steps, against 7."""
    contenders = [Contender(f"{steps} steps", "rivals.ours", settings_of(options, steps=steps)) for steps in (7, 40)]
    print(f"\nmemory: {options.network}, batch {options.batch}")
    results = measure(contenders, 3, options.python)
    few, many = (max(answer["peak_mib"] for answer in answers) for answers in results.values())
    print(f"peak memory: {few:.0f} MiB with 7 attack steps, {many:.0f} MiB with 40: {many / few:.2f} times")
    return results


def growth(options):
    """How the cost of a step grows with attack steps, width, batch and image size, each from the usual setting."""
    usual = settings_of(options, precision=options.precision[0], width=1.0, image=32)
    contenders = [Contender("usual", "rivals.ours", usual)]
    for name, values in GROWTH.items():
        contenders += [Contender(f"{name} {value}", "rivals.ours", usual | {name: value}) for value in values]
    print(
        f"\ngrowth: {options.network}, {usual['precision']}, batch {options.batch}, PGD-{options.steps}, width 1, 32x32"
    )
    results = measure(contenders, options.rounds, options.python)
    for title, answers in results.items():
        ratios = [mine["seconds"] / base["seconds"] for mine, base in zip(answers, results["usual"], strict=True)]
        seconds = statistics.median(answer["seconds"] for answer in answers)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{title:<12} {seconds:7.2f} s  {statistics.median(ratios):6.2f} times ({spread})")
    return results


def startup(options):
    """Seconds from the command to the end of the first training step of `rsr train`."""
    results = {}
    for config, overrides in _startup_runs(options):
        seconds = [_first_step(config, overrides, options.python) for _ in range(options.rounds)]
        results[config] = [{"seconds": value} for value in seconds]
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        print(f"startup: {config}: {statistics.median(seconds):.1f} s to the first step ({spread})")
    return results


def _startup_runs(options):
    runs = [("quickstart", [])]
    if options.data:
        override = ["--set", f"data.directory={Path(options.data).resolve()}"]
        runs.append(("cifar10/resnet20_rsr", override))
    return runs


def _first_step(config, overrides, python):
    """Run `rsr train` until its line in the terminal shows a step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "rsr_tf.cli", "train", config, *overrides, "--output", f"{folder}/run"]
        started = time.perf_counter()
        process = subprocess.Popen(
            ["script", "-qefc", " ".join(command), "/dev/null"], stdout=subprocess.PIPE, text=True, errors="replace"
        )
        seen = ""
        while not re.search(r"step \d+ of \d+", seen):
            character = process.stdout.read(1)
            if not character:
                raise RuntimeError(f"`rsr train` ended before its first step:\n{seen[-2000:]}")
            seen = (seen + character)[-4000:]
        seconds = time.perf_counter() - started
        process.kill()
        process.wait()
    return seconds


def machine():
    """The machine and the versions that a table came from."""
    import keras
    import tensorflow as tf

    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": model, "cores": cores, "tensorflow": tf.__version__, "keras": keras.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"train": train, "attack": attack, "memory": memory, "growth": growth, "startup": startup}
    parser.add_argument("what", choices=[*parts, "all"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw repeats")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "resnet18", "vgg16"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=7, help="attack steps in training")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--only", nargs="+", choices=TRAINING, help="contenders of `train`, the first held against all")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment with the rivals")
    parser.add_argument("--data", help="prepared TFDS folder, for the start-up time on CIFAR-10")
    options = parser.parse_args()
    content = {"machine": machine()}
    print(content["machine"])
    for name, part in parts.items():
        if options.what in (name, "all"):
            content[name] = part(options)
            if options.json:
                options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
