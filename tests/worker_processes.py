"""Processes on this machine that train together."""

import json
import os
import random
import subprocess
import sys


def start(*arguments, count=2):
    """Start Python with the same arguments in several processes that know each other; return them, the chief first."""
    port = random.SystemRandom().randrange(20000, 50000)
    workers = [f"localhost:{port + index}" for index in range(count)]
    processes = []
    for index in range(count):
        config = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        environment = {**os.environ, **({"TF_CONFIG": config} if count > 1 else {})}
        command = [sys.executable, *map(str, arguments)]
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=environment, **options))
    return processes


def wait_for(processes):
    """Wait for processes; return the list of their exit codes, and that of the last characters of their errors."""
    try:
        errors = [process.communicate(timeout=300)[1][-2000:] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], errors
