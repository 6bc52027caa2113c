"""Everything that an accelerator is asked for, within a time limit; what is done by then is kept.

    python scripts/accelerator/job.py PREPARED OUTPUT [--seconds 720] [--parallel N]

PREPARED is the folder of `prepare.sh` or `grid.py lower`. The trainings in PREPARED/train_* are run in the order of
their names, N at a time, each from its last saved epoch. Meanwhile the programs whose step is timed are compiled, this
library's and the PyTorch loops. The trainings stand still while they run, one after the other in every round.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accelerator.artifact import Artifact
from accelerator.matmul import FLOPS
from benchmark import Contender, Worker

ROUNDS = 5
CALLS = 20
"""Steps between two readings of the clock, where a call is one step."""
START_SECONDS = 240
"""Time for the workers to compile; who is not ready then is left out."""
SAVE_EPOCHS = 5
SHORTEST_SECONDS = 45
"""Time that a training needs for anything worth saving: most of it to compile."""
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Several processes share the memory of the device."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=720)
    parser.add_argument("--skip-timing", action="store_true", help="train alone")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="trainings at a time")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    options.output.mkdir(parents=True, exist_ok=True)
    trainings = Trainings(options.prepared, options.output, deadline, options.parallel)
    if not options.skip_timing:
        time_steps(options.prepared, options.output / "timing.json", trainings, deadline)
    trainings.wait()


class Trainings:
    """The trainings of a folder, each in a separate process, a few at a time, as far as the time goes.

    A training that is complete already is left out.
    """

    def __init__(self, prepared, output, deadline, parallel):
        self.prepared, self.output, self.deadline = prepared, output, deadline
        self.processes = set()
        self._pool = concurrent.futures.ThreadPoolExecutor(parallel)
        self._work = [self._pool.submit(self._train, folder) for folder in sorted(prepared.glob("train_*"))]

    def _train(self, folder):
        left = self.deadline - time.monotonic()
        if left < SHORTEST_SECONDS or is_complete(folder, self.output / folder.name):
            return
        command = [sys.executable, str(Path(__file__).with_name("run.py")), "train", str(folder)]
        command += [str(self.output / folder.name), "--data", str(self.prepared)]
        command += ["--seconds", str(left), "--save-every", str(SAVE_EPOCHS)]
        print(f"training {folder.name}", flush=True)
        process = subprocess.Popen(command, env=os.environ | ENVIRONMENT)
        self.processes.add(process)
        process.wait()
        self.processes.discard(process)

    def wait(self):
        """Wait until the time is over, or everything is trained."""
        for each in self._work:
            each.result()

    @contextlib.contextmanager
    def paused(self):
        """Let the trainings that run stand still meanwhile."""
        processes = list(self.processes)
        for process in processes:
            process.send_signal(signal.SIGSTOP)  # without effect on a process that ended
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)


def is_complete(folder, output):
    """Return whether a training has all its epochs."""
    progress = output / "progress.json"
    done = json.loads(progress.read_text())["epochs"] if progress.exists() else 0
    return done == Artifact.read(folder).config["training"]["epochs"]


def contenders_of(prepared):
    """List this library's program and the PyTorch loop for each of the settings that are prepared."""
    found = []
    for path in sorted(prepared.glob("resnet*/program.json")):
        network, precision, batch = path.parent.name.split("_")
        title = f"{network} {precision} {batch}"
        repeats = steps_between_readings(path.parent)
        ours = {"folder": str(path.parent.resolve()), "repeats": repeats}
        found.append(Contender(f"{title} rsr_tf", "accelerator.run", ours, ENVIRONMENT))
        rival = {"network": network, "precision": precision, "batch": int(batch), "steps": 7, "repeats": repeats}
        found.append(Contender(f"{title} PyTorch", "accelerator.rival", rival | {"compile": True}))
    return [*found, Contender("matmul", "accelerator.matmul", {"repeats": CALLS}, ENVIRONMENT)]


def steps_between_readings(folder):
    """Return the number of steps of a call of the program, or that of `CALLS` calls if a call is one step."""
    steps = Artifact.read(folder).steps_per_call
    return steps if steps > 1 else CALLS


def time_steps(prepared, path, trainings, deadline):
    """Time all contenders in turn and write the seconds of a step in each round to a JSON file."""
    contenders = contenders_of(prepared)
    workers = start(contenders, min(START_SECONDS, deadline - time.monotonic()))
    repeats = {each.title: each.settings["repeats"] for each in contenders}
    seconds = {worker.title: [] for worker in workers}
    with trainings.paused():
        for _ in range(ROUNDS):
            if time.monotonic() < deadline:
                for worker in workers:
                    seconds[worker.title].append(worker.step()["seconds"] / repeats[worker.title])
    for worker in workers:
        worker.process.kill()
        worker.process.wait()
    folders = [each.parent for each in prepared.glob("resnet*/program.json")]
    flops = {f"{each.name.replace('_', ' ')} rsr_tf": Artifact.read(each).flops_per_step for each in folders}
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


if __name__ == "__main__":
    main()
