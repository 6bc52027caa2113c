"""Everything that an accelerator is asked for, within a time limit; what is done by then is kept.

    python scripts/accelerator/job.py PREPARED OUTPUT [--seconds 720]

PREPARED is the folder of `prepare.sh`. First the step times: this library's programs and the PyTorch loop, one after
the other in every round. Then ResNet-20 is trained by the schedule of the paper, in float32 if the time suffices, else
in bfloat16; a later call with the same folders goes on from the last saved epoch. The time that remains goes to the
trainings in PREPARED/train_*, then to further step times.
"""

import argparse
import concurrent.futures
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accelerator.artifact import Artifact
from accelerator.matmul import FLOPS
from benchmark import Contender, Worker

REPEATS = 20
"""Steps between two readings of the clock."""
ROUNDS = 5
FIRST = (
    ("resnet20", "float32", 128),
    ("resnet20", "bfloat16", 128),
    ("resnet18", "bfloat16", 128),
)
"""Settings that are timed before the training."""
LATER = (
    ("resnet20", "bfloat16", 512),
    ("resnet18", "float32", 128),
    ("resnet18", "bfloat16", 512),
    ("resnet20", "float32", 512),
    ("resnet18", "float32", 512),
)
MARGIN, COMPILE_SECONDS = 1.15, 60
"""A training takes longer than its steps: validation, starting, compiling."""
START_SECONDS = 110
"""Time for the workers to compile; who is not ready then is left out."""
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Several processes share the memory of the device."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=720)
    parser.add_argument("--skip-timing", action="store_true", help="train at once")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    options.output.mkdir(parents=True, exist_ok=True)
    timing = options.output / "timing.json"
    if not options.skip_timing:
        time_steps(options.prepared, FIRST, timing, deadline)
    train_paper(options.prepared, options.output / "train", timing, deadline)
    for folder in sorted(options.prepared.glob("train_*")):
        train(folder, options.prepared, options.output / folder.name, deadline)
    if not options.skip_timing and time.monotonic() + START_SECONDS < deadline:
        time_steps(options.prepared, LATER, options.output / "timing_later.json", deadline)


def folder_of(prepared, network, precision, batch):
    return prepared / f"{network}_{precision}_{batch}"


def contenders_of(prepared, settings):
    """List this library's program and the PyTorch loop for each of the settings that are prepared."""
    found = []
    for network, precision, batch in settings:
        title = f"{network} {precision} {batch}"
        folder = folder_of(prepared, network, precision, batch)
        if folder.is_dir():
            ours = {"folder": str(folder.resolve()), "repeats": REPEATS}
            found.append(Contender(f"{title} rsr_tf", "accelerator.run", ours, ENVIRONMENT))
            rival = {"network": network, "precision": precision, "batch": batch, "steps": 7, "repeats": REPEATS}
            found.append(Contender(f"{title} PyTorch", "accelerator.rival", rival | {"compile": True}))
    found.append(Contender("matmul", "accelerator.matmul", {"repeats": REPEATS}, ENVIRONMENT))
    return found


def time_steps(prepared, settings, path, deadline):
    """Time all contenders in turn and write the seconds of a step in each round to a JSON file."""
    contenders = contenders_of(prepared, settings)
    workers = start(contenders, min(START_SECONDS, deadline - time.monotonic()))
    seconds = {worker.title: [] for worker in workers}
    for _ in range(ROUNDS):
        if time.monotonic() < deadline:
            for worker in workers:
                seconds[worker.title].append(worker.step()["seconds"] / REPEATS)
    for worker in workers:
        worker.process.kill()
        worker.process.wait()
    flops = {
        f"{folder.name.replace('_', ' ')} rsr_tf": Artifact.read(folder).flops_per_step
        for folder in prepared.iterdir()
        if (folder / "program.json").exists()
    }
    content = {"device": device(), "seconds": seconds, "flops": flops, "matmul_flops": FLOPS}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print_times(content)


def start(contenders, seconds):
    """Start all contenders at once and return the workers that are ready within the time."""
    started = time.monotonic()
    workers = [Worker(contender, sys.executable) for contender in contenders]

    def ready(worker):
        try:
            answer = worker.greeting.get("missing", "ready")
        except RuntimeError as error:
            answer = str(error)
        print(f"{time.monotonic() - started:5.0f} s {worker.title}: {answer}", flush=True)
        return answer == "ready"

    pool = concurrent.futures.ThreadPoolExecutor(len(workers))
    futures = {pool.submit(ready, worker): worker for worker in workers}
    done, late = concurrent.futures.wait(futures, timeout=seconds)
    for future in late:
        print(f"too late: {futures[future].title}", flush=True)
        futures[future].process.kill()
    pool.shutdown()
    return [worker for future, worker in futures.items() if future in done and future.result()]


def device():
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no GPU"


def print_times(content):
    """Print the median of each contender, its share of what a large product reaches, and the ratio to PyTorch."""
    seconds = {title: each for title, each in content["seconds"].items() if each}
    peak = content["matmul_flops"] / statistics.median(seconds["matmul"]) if "matmul" in seconds else None
    if peak:
        print(f"large product in bfloat16: {peak / 1e12:.0f} TFLOP/s", flush=True)
    for title, mine in seconds.items():
        line = f"{title:<36} {1e3 * statistics.median(mine):8.3f} ms ({1e3 * min(mine):.3f} to {1e3 * max(mine):.3f})"
        flops = content["flops"].get(title)
        if flops and peak:
            line += (
                f"  {flops / statistics.median(mine) / 1e12:.1f} TFLOP/s, {flops / statistics.median(mine) / peak:.1%}"
            )
        theirs = seconds.get(title.replace("rsr_tf", "PyTorch"))
        if theirs and "rsr_tf" in title:
            ratios = [their / own for their, own in zip(theirs, mine, strict=False)]
            line += f"  {statistics.median(ratios):.2f} times PyTorch's speed ({min(ratios):.2f} to {max(ratios):.2f})"
        print(line, flush=True)


def train_paper(prepared, output, timing, deadline):
    """Train ResNet-20 by Robust Sparse Regularization, in the precision that the time suffices for."""
    chosen = output / "precision.txt"
    if not chosen.exists():
        output.mkdir(parents=True, exist_ok=True)
        chosen.write_text(choose_precision(prepared, timing, deadline - time.monotonic()))
    train(folder_of(prepared, "resnet20", chosen.read_text(), 128), prepared, output, deadline)


def train(folder, prepared, output, deadline):
    """Train in a separate process, as far as the time goes."""
    if time.monotonic() > deadline:
        return
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "train", str(folder), str(output)]
    command += ["--data", str(prepared), "--seconds", str(deadline - time.monotonic())]
    print(f"training {folder.name}", flush=True)
    subprocess.run(command, check=False)


def choose_precision(prepared, timing, seconds):
    """Return bfloat16 if the whole schedule takes longer in float32 than the time that is left, else float32."""
    measured = json.loads(timing.read_text())["seconds"] if timing.exists() else {}
    step = measured.get("resnet20 float32 128 rsr_tf")
    if not step:
        return "float32"
    artifact = Artifact.read(folder_of(prepared, "resnet20", "float32", 128))
    steps = artifact.steps_per_epoch * artifact.config["training"]["epochs"]
    return "float32" if MARGIN * steps * statistics.median(step) + COMPILE_SECONDS < seconds else "bfloat16"


if __name__ == "__main__":
    main()
