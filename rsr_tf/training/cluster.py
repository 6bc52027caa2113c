"""The processes of one training on several hosts, as `TF_CONFIG` or SLURM names them."""

import json
import os
from dataclasses import dataclass

JOBS = ("chief", "worker")
"""Kinds of processes that train; of a cluster without a chief, the first worker is it."""


@dataclass(frozen=True)
class Cluster:
    """The processes that train one network together, and which of them this one is.

    Args:
        addresses: tuple of `"host:port"`, where TensorFlow listens; that of the chief, which alone writes files, first.
        index: integer, the position of this process among them.

    Example:
        >>> from rsr_tf.training.cluster import Cluster
        >>> Cluster(("a:2222", "b:2222"), index=1).name(0)
        'worker 0 (a:2222)'
    """

    addresses: tuple = ("localhost:0",)
    index: int = 0

    @property
    def count(self):
        """Number of processes."""
        return len(self.addresses)

    @property
    def is_chief(self):
        """Whether this process writes the files."""
        return self.index == 0

    def name(self, index):
        """Return the name of a process, for messages."""
        return f"worker {index} ({self.addresses[index]})"


def find_cluster():
    """Return the `Cluster` of this process: that of `TF_CONFIG`, else that of the SLURM step, else it is alone.

    Raises:
        ValueError: for a `TF_CONFIG` that is not JSON, or that does not name this process, or for processes that are
            neither chief nor workers.

    Example:
        >>> from rsr_tf.training.cluster import find_cluster
        >>> find_cluster().count
        1
    """
    if os.environ.get("TF_CONFIG"):
        return _from_tf_config(os.environ["TF_CONFIG"])
    if int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return _from_slurm()
    return Cluster()


def _from_tf_config(text):
    try:
        config = json.loads(text)
        jobs = {job: list(addresses) for job, addresses in config.get("cluster", {}).items()}
        task = config.get("task", {})
        job, index = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"TF_CONFIG must be a JSON object with a cluster. Received: {error}") from error
    if not jobs:
        return Cluster()
    if job not in jobs or not 0 <= index < len(jobs[job]):
        raise ValueError(f"TF_CONFIG must name this process in its cluster. Received: {job} {index}")
    others = sorted(set(jobs) - set(JOBS))
    if others:
        raise ValueError(f"TF_CONFIG must have jobs among {JOBS}. Received: {others[0]!r}")
    before = len(jobs.get("chief", ())) if job == "worker" else 0
    return Cluster((*jobs.get("chief", ()), *jobs.get("worker", ())), before + index)


def _from_slurm():
    import tensorflow as tf

    tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
    # SLURM gives each task its GPUs (`--gpus-per-task`); the resolver would look for them by nvidia-smi
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
    )
    try:
        addresses = resolver.cluster_spec().as_dict()["worker"]
    except RuntimeError as error:
        raise ValueError(f"cannot find the tasks of this SLURM step: {error}") from error
    return Cluster(tuple(addresses), resolver.get_task_info()[1])
