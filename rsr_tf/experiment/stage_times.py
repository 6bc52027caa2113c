"""When the stages of a run were worked on, for how long and on which machine: `stages.json` of a run folder."""

import contextlib
import datetime
import functools
import os
import platform
import time

import tensorflow as tf

from rsr_tf.experiment.result_schema import read_result, write_result
from rsr_tf.files import LOCK_FILE


def timed(*stages):
    """Record the time of every call of some methods of a class that has a `folder`; see `recorded`.

    Args:
        *stages: their names.

    Returns:
        A decorator of the class.
    """

    def decorate(experiment):
        for name in stages:
            setattr(experiment, name, _timed(getattr(experiment, name)))
        return experiment

    return decorate


def _timed(stage):
    @functools.wraps(stage)
    def call(self, *arguments, **options):
        with recorded(self.folder, stage.__name__):
            return stage(self, *arguments, **options)

    return call


@contextlib.contextmanager
def recorded(folder, name):
    """Add the time of a block to that of the earlier calls of a stage.

    Killed calls are not counted, nor those that find everything done and leave the folder as it is.

    Args:
        folder: a `RunFolder`; one without a config gets no file.
        name: name of the stage.
    """
    started, clock, before = _now(), time.monotonic(), _written(folder)
    try:
        yield
    finally:
        if folder.config.exists() and _written(folder) != before:
            with contextlib.suppress(OSError), folder.writing():  # a full disk is what the stage reports
                _add(folder, name, started, time.monotonic() - clock)


def _add(folder, name, started, seconds):
    try:
        stages = read_result(folder.stages).get("stages", {})
    except ValueError:  # no result of a network is in it
        stages = {}
    earlier = stages.get(name, {"started": started, "seconds": 0.0, "calls": 0})
    stages[name] = {
        "started": earlier["started"],
        "finished": _now(),
        "seconds": earlier["seconds"] + seconds,
        "calls": earlier["calls"] + 1,
        "machine": describe_machine(),
    }
    write_result(folder.stages, {"stages": stages})


def _written(folder):
    """Return when each file and folder of a run was last written."""
    if not folder.path.is_dir():
        return {}
    kept = (folder.stages.name, folder.report.name, LOCK_FILE)
    return {path.name: path.lstat().st_mtime_ns for path in folder.path.iterdir() if path.name not in kept}


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def describe_machine():
    """Return processor, cores, accelerators, system and Python of this machine, without its name."""
    accelerators = [
        tf.config.experimental.get_device_details(device).get("device_name", device.device_type)
        for device in tf.config.list_physical_devices()
        if device.device_type not in ("CPU", "XLA_CPU")
    ]
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerators": accelerators,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


@functools.cache
def _processor():
    """Return the name of the processor, which `platform` does not know in Linux."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
