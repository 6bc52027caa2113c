"""Runs of several processes on this machine: random kills, and the time they take.

    python scripts/workers.py kills FOLDER [--times 20] [--seed 0]
    python scripts/workers.py suites FOLDER RUN [--times 10]
    python scripts/workers.py speed FOLDER
    python scripts/workers.py suite-speed FOLDER RUN

`kills` trains a small network by two processes, the chief and one worker. It kills one of them, at a random moment of
the training or during a save, and starts both again, several times in each run. In the end the files must be those of a
run that nobody killed. `suites` lets two processes share a suite, and kills one. `speed` and `suite-speed` compare two
processes with one, on a core each; run them on an idle machine. The results are printed as JSON.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

SMALL = """
[data]
name = "digits"
[model]
name = "small_cnn"
width = 0.125
lasso = 1e-4
[attack]
epsilon = 0.2
step_size = 0.1
steps = 2
[training]
devices = "all"
epochs = 6
batch_size = 128
learning_rate = 0.05
deterministic = true
[pruning]
sparsity = 0.6
finetune_epochs = 2
[evaluation]
epsilon = 0.2
step_size = 0.1
steps = 2
images = 60
draws = 2
batch_size = 50
"""
KILLS_PER_RUN = 5
SUITE_IMAGES = 60
TIMED_IMAGES = 1000
"""Images of a suite that is timed: 20 batches, so that there is work for two processes in each attack."""
TIMED_STEPS = 10
VALIDATION = 32
RESNET = """
data = {{name = "npz", directory = "{data}", validation = {validation}}}
model = {{name = "resnet20"}}
attack = {{epsilon = 0.03, step_size = 0.01, steps = 7}}
training = {{devices = "all", epochs = 4, batch_size = 256}}
"""


def free_ports(count):
    """Return ports that nobody uses, with the ones 1000 above them."""
    found = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20000, 50000)
        with contextlib.suppress(OSError), socket.create_server(("", port)), socket.create_server(("", port + 1000)):
            found.append(port)
    return found


def start(arguments, count, logs, *, cluster=True, cores=False):
    """Start the same `rsr` command in several processes, as a user does; return them."""
    logs.mkdir(parents=True, exist_ok=True)
    addresses, processes = [f"localhost:{port}" for port in free_ports(count)], []
    for index in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        inherited = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        environment = {**inherited, **({"TF_CONFIG": json.dumps(config)} if cluster and count > 1 else {})}
        pinned = ["taskset", "-c", str(index)] if cores else []
        with (logs / f"out{index}").open("w") as out, (logs / f"err{index}").open("w") as err:
            command = [*pinned, sys.executable, "-m", "rsr_tf.cli", *map(str, arguments)]
            processes.append(subprocess.Popen(command, env=environment, stdout=out, stderr=err))
    return processes


def weights(folder):
    """Return a hash of every network of a run, and its history."""
    import keras  # only to read what is there

    import rsr_tf  # noqa: F401 - Keras knows its classes then

    found = {"history": hashlib.sha256((folder / "history.csv").read_bytes()).hexdigest()}
    for path in sorted(folder.glob("*.keras")):
        values = [variable.numpy().tobytes() for variable in keras.models.load_model(path).weights]
        found[path.name] = hashlib.sha256(b"".join(values)).hexdigest()
    return found


def wait_to_meet(logs, processes):
    """Wait until the workers have met, or one has ended; return the time."""
    while "training images" not in (logs / "out0").read_text() and all(each.poll() is None for each in processes):
        time.sleep(0.01)
    return time.monotonic()


def wait_for_moment(moment, folder, processes, seconds):
    """Wait so many seconds, or for a save that begins now; `False` if the processes end before."""
    begun, earlier = time.monotonic(), set(partial_files(folder))
    while all(process.poll() is None for process in processes):
        if moment == "save" and set(partial_files(folder)) - earlier:
            return True
        if moment == "random" and time.monotonic() > begun + seconds:
            return True
        time.sleep(0.001)
    return False


def partial_files(folder):
    """List the files that are being written, or were when a process was killed, and when they were."""
    found = [*folder.glob("checkpoints/partial-*"), *folder.glob("partial-*.keras")]
    return [(path, path.stat().st_mtime_ns) for path in found if path.exists()]


def kill_one(folder, config, logs, span, rng):
    """Start two workers, kill one; return what the other did, or `None` if the run was done before."""
    processes = start(["train", config, "--output", folder], 2, logs)
    moment, victim = rng.choice(["random", "random", "save"]), rng.randrange(2)
    wait_to_meet(logs, processes)
    if not wait_for_moment(moment, folder, processes, rng.uniform(0, span)):
        return None if [process.wait() for process in processes] == [0, 0] else {"failed": logs.as_posix()}
    where = sorted(path.name for path in folder.glob("checkpoints/*"))
    processes[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    code = processes[1 - victim].wait(120)
    lines = (logs / f"err{1 - victim}").read_text().splitlines()
    seconds = round(time.monotonic() - killed, 2)
    return {"victim": ["chief", "worker"][victim], "moment": moment, "files": where, "seconds": seconds} | {
        "code": code,
        "lines": len(lines),
    }


def kills(folder, times, seed):
    """Kill runs of two workers, resume them, and compare them with one that nobody killed."""
    folder.mkdir(parents=True)
    config = folder / "small.toml"
    config.write_text(SMALL)
    whole = folder / "whole"
    processes = start(["train", config, "--output", whole], 2, folder / "logs-whole")
    met = wait_to_meet(folder / "logs-whole", processes)
    codes = [each.wait() for each in processes]
    assert codes == [0, 0], codes
    span = time.monotonic() - met
    print(json.dumps({"seconds of training": round(span, 1)}), flush=True)
    expected, rng, found, equal, runs, failed = weights(whole), random.Random(seed), [], 0, 0, 0
    while len(found) < times and not failed:
        run, ended, tries = folder / f"run{runs}", False, 0
        for number in range(KILLS_PER_RUN):
            kill = kill_one(run, config, folder / f"logs-{runs}-{number}", span, rng)
            if kill is None:
                ended = True
                break
            print(json.dumps(kill), flush=True)
            if "failed" in kill:  # the processes ended by themselves, and not with code 0
                failed += 1
                break
            found.append(kill)
        codes = [0, 0]
        while not ended:
            tries += 1
            logs = folder / f"logs-{runs}-end{tries}"
            codes = [each.wait() for each in start(["train", config, "--output", run], 2, logs)]
            ended = codes == [0, 0] or tries > 1
        runs += 1
        same = weights(run) == expected
        equal += same
        print(json.dumps({"run": run.name, "equal": same, "codes": codes}), flush=True)
        if same:
            shutil.rmtree(run)
    return {
        "kills": len(found),
        "ended without a kill, and not with code 0": failed,
        "runs": runs,
        "equal": equal,
        "one line and code 75": sum(kill.get("lines") == 1 and kill.get("code") == 75 for kill in found),
        "longest seconds": max((kill["seconds"] for kill in found), default=0),
        "victims": {name: sum(kill.get("victim") == name for kill in found) for name in ("chief", "worker")},
        "during a save": sum(kill.get("moment") == "save" for kill in found),
    }


def without_times(content):
    """Return a verdict without what differs between two runs of the same process."""
    if isinstance(content, dict):
        times = ("seconds", "expected_seconds")
        return {key: without_times(value) for key, value in content.items() if key not in times}
    return [without_times(each) for each in content] if isinstance(content, list) else content


def judge(run, count, logs, *, images=SUITE_IMAGES, kill_after=None, cores=False):
    """Judge a run by several processes, one of which may be killed; return the verdict and the seconds."""
    command = ["evaluate", run, "--suite", "quick", "--images", images]
    started = time.monotonic()
    processes = start(command, count, logs, cluster=False, cores=cores)
    if kill_after is not None:
        time.sleep(kill_after)
        processes[0].send_signal(signal.SIGKILL)
    codes = [process.wait() for process in processes]
    assert codes[0] in (0, -signal.SIGKILL), (codes, logs)
    assert codes[1:] == [0] * (count - 1), (codes, logs)
    verdict = json.loads((run / f"verdict_quick_{images}.json").read_text())
    return without_times(verdict), round(time.monotonic() - started, 1)


def copied(run, folder):
    """Return a copy of a run that nobody has judged."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("suites", "verdict_*"))
    return folder


def suites(folder, run, times, seed):
    """Let two processes share a suite, kill one at a random moment, and compare the verdicts with that of one."""
    rng = random.Random(seed)
    expected, seconds = judge(copied(run, folder / "one"), 1, folder / "logs-one")
    equal = 0
    for number in range(times):
        again = copied(run, folder / f"two{number}")
        after = rng.uniform(0, seconds)
        found, _ = judge(again, 2, folder / f"logs-{number}", kill_after=after)
        equal += found == expected
        print(json.dumps({"killed after": round(after, 1), "equal": found == expected}), flush=True)
    return {"kills": times, "equal": equal}


def suite_speed(folder, run):
    """Measure a suite by one process and by two, each on a core of its own."""
    options = {"images": TIMED_IMAGES, "cores": True}
    seconds = {n: judge(copied(run, folder / f"speed{n}"), n, folder / f"logs-{n}", **options)[1] for n in (1, 2)}
    return {"images": TIMED_IMAGES, "seconds": seconds, "times as fast": round(seconds[1] / seconds[2], 2)}


def speed(folder):
    """Measure ResNet-20 with PGD-7 by one worker and by two, each on a core of its own, at a global batch of 256."""
    import numpy as np

    folder.mkdir(parents=True)
    draw, data, config, found = np.random.default_rng(0), folder / "images.npz", folder / "resnet.toml", {}
    arrays = {}
    for part, count in (("train", 256 * TIMED_STEPS + VALIDATION), ("test", 256)):
        arrays[f"x_{part}"] = draw.integers(0, 256, (count, 32, 32, 3), "uint8")
        arrays[f"y_{part}"] = np.arange(count) % 10
    np.savez(data, **arrays)
    config.write_text(RESNET.format(data=data, validation=VALIDATION / len(arrays["x_train"])))
    for count in (1, 2):
        run, logs = folder / f"speed{count}", folder / f"logs-{count}"
        processes = start(["train", config, "--output", run], count, logs, cores=True)
        ended = epoch_times(run / "history.csv", processes)
        assert [each.wait() for each in processes] == [0] * count, logs
        times = [later - earlier for earlier, later in itertools.pairwise(ended)]  # without the first, which traces
        found[count] = {
            "images a second": round(TIMED_STEPS * 256 / statistics.median(times), 1),
            "seconds an epoch": [round(each, 2) for each in times],
        }
    ratio = found[2]["images a second"] / found[1]["images a second"]
    return {"steps an epoch": TIMED_STEPS, "workers": found, "times as fast": round(ratio, 2)}


def epoch_times(path, processes):
    """Wait for processes that train, and return the time at which each row of the history was there."""
    times = []
    while all(process.poll() is None for process in processes):
        rows = len(path.read_text().splitlines()) - 1 if path.exists() else 0
        times += [time.monotonic()] * (rows - len(times))
        time.sleep(0.01)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["kills", "suites", "speed", "suite-speed"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", type=Path, nargs="?", help="finished run folder, for the suites")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    work = {
        "kills": lambda: kills(folder, arguments.times, arguments.seed),
        "suites": lambda: suites(folder, arguments.run, arguments.times, arguments.seed),
        "speed": lambda: speed(folder),
        "suite-speed": lambda: suite_speed(folder, arguments.run),
    }
    print(json.dumps(work[arguments.what](), indent=1))


if __name__ == "__main__":
    main()
