"""One rival in a separate process: reads a line for each request, answers with the seconds that a step took.

Its arguments are the name of the module with `build`, and the settings as JSON.
"""

import importlib
import json
import resource
import sys
import time


def main():
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    try:
        step = importlib.import_module(name).build(settings)
        step()  # traces and warms up
        step()
    except ImportError as error:
        answer({"missing": str(error)})
        return
    answer({"ready": True})
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        seconds = time.perf_counter() - started
        answer({"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})


def answer(content):
    print("ANSWER " + json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
