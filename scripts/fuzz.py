"""Feed damaged files and settings to everything that the library reads, and count tracebacks, hangs and memory.

    python scripts/fuzz.py [--inputs 2000] [--seed 0] [--json docs/results/fuzz.json]

An input is accepted, or refused by one line that names the file or key; any other error is a traceback. The inputs
follow from the seed. A process that takes too long for one input is killed, and another one goes on with the next.
"""

import argparse
import collections
import json
import logging
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

SECONDS = 10
MEGABYTES = 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000, help="number of damaged inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="name of one target")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    started, counts, failures = time.perf_counter(), {}, []
    for name, total in shares(arguments.inputs).items():
        if arguments.only in (None, name):
            counts[name] = collections.Counter()
            for number, outcome, detail in outcomes(name, total, arguments.seed):
                counts[name][outcome] += 1
                if outcome not in ("accepted", "refused"):
                    failures.append({"target": name, "number": number, "outcome": outcome, "detail": detail})
                    print(f"{name} {number}: {outcome}\n{detail}", flush=True)
            print(name, dict(counts[name]), flush=True)
    record = {
        "command": f"python scripts/fuzz.py --inputs {arguments.inputs} --seed {arguments.seed}",
        "seed": arguments.seed,
        "inputs": sum(sum(count.values()) for count in counts.values()),
        "limits": {"seconds": SECONDS, "megabytes": MEGABYTES},
        **{kind: sum(count[kind] for count in counts.values()) for kind in ("traceback", "hang", "memory")},
        "outcomes": {name: dict(sorted(count.items())) for name, count in counts.items()},
        "failures": failures,
        "seconds": round(time.perf_counter() - started),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def shares(inputs):
    """Return the number of inputs of each target."""
    from fuzz_targets import TARGETS

    total = sum(share for _, share in TARGETS.values())
    return {name: max(1, inputs * share // total) for name, (_, share) in TARGETS.items()}


def outcomes(name, total, seed):
    """Yield number, outcome and detail of every input of a target, from processes that are replaced when they hang."""
    context, number = multiprocessing.get_context("spawn"), 0
    while number < total:
        mine, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, name, number, total, seed))
        process.start()
        theirs.close()
        patience = 120  # imports come first
        while number < total:
            try:
                answer = mine.recv() if mine.poll(patience) else ("hang", f"no answer in {patience} s")
            except EOFError:
                answer = ("traceback", "the process died")
            if answer == "ready":
                patience = 6 * SECONDS
                continue
            yield number, *answer
            number += 1
            if answer[0] in ("hang", "memory") or answer[1] == "the process died":
                break  # the highest use of memory is that of a process
        process.kill()
        process.join()


def work(connection, name, start, total, seed):
    """Try the inputs from `start` on, and send the outcome of each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from fuzz_targets import TARGETS

    logging.disable()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name][0](Path(folder))
        target.read() if name in ("state of a suite", "compact archive") else None  # warm up
        connection.send("ready")
        for number in range(start, total):
            connection.send(outcome(target, generator(seed, name, number)))


def generator(seed, name, number):
    """Return the random numbers of one input, which do not depend on the others."""
    import numpy as np

    return np.random.default_rng([seed, zlib.crc32(name.encode()), number])


def outcome(target, random):
    """Damage and read a target; return `"accepted"`, `"refused"` or what went wrong, and the detail."""
    from rsr_tf.errors import UserError

    target.damage(random)
    before, started, detail = memory(), time.process_time(), ""  # of this process: the machine may be busy
    try:
        target.read()
        found = "accepted"
    except (UserError, ValueError, OSError) as error:
        detail = str(error)
        is_one_line = "\n" not in detail and any(name in detail for name in target.names)
        found = "refused" if is_one_line else "traceback"
        detail = detail if is_one_line else traceback.format_exc(limit=-6)
    except Exception:
        found, detail = "traceback", traceback.format_exc(limit=-6)
    seconds = time.process_time() - started
    if seconds > SECONDS:
        found, detail = "hang", f"{seconds:.0f} s"
    if memory() - before > MEGABYTES:
        found, detail = "memory", f"{memory() - before:.0f} MB"
    return found, detail


def memory():
    """Return the highest use of memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
