"""Which processes train together, by `TF_CONFIG`, by faked variables of SLURM, and by the launchers."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from rsr_tf.training.cluster import Cluster, find_cluster

LAUNCHERS = Path(__file__).parent.parent.parent / "scripts" / "launchers"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in list(os.environ):
        if name == "TF_CONFIG" or name.startswith("SLURM_"):
            monkeypatch.delenv(name)


def configured(monkeypatch, cluster, job, index):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": job, "index": index}}))
    return find_cluster()


def test_process_without_a_cluster_is_alone_and_the_chief():
    assert find_cluster() == Cluster()
    assert (find_cluster().count, find_cluster().is_chief) == (1, True)


def test_first_worker_is_the_chief(monkeypatch):
    found = configured(monkeypatch, {"worker": ["a:1", "b:2"]}, "worker", 1)
    assert found == Cluster(("a:1", "b:2"), 1)
    assert not found.is_chief
    assert configured(monkeypatch, {"worker": ["a:1", "b:2"]}, "worker", 0).is_chief


def test_chief_comes_before_the_workers(monkeypatch):
    cluster = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    assert configured(monkeypatch, cluster, "chief", 0) == Cluster(("a:1", "b:2", "c:3"), 0)
    assert configured(monkeypatch, cluster, "worker", 1) == Cluster(("a:1", "b:2", "c:3"), 2)


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": 1}}', '{"cluster": 3}'])
def test_unreadable_cluster_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"TF_CONFIG must be a JSON object with a cluster\. Received: "):
        find_cluster()


def test_process_that_is_not_in_its_cluster_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"TF_CONFIG must name this process in its cluster\. Received: worker 2"):
        configured(monkeypatch, {"worker": ["a:1", "b:2"]}, "worker", 2)


def test_parameter_servers_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"jobs among \('chief', 'worker'\). Received: 'ps'"):
        configured(monkeypatch, {"worker": ["a:1"], "ps": ["b:2"]}, "worker", 0)


@pytest.mark.parametrize(("nodes", "tasks", "index"), [("gpu[01-03]", "1(x3)", 2), ("gpu01,gpu02,gpu03", "1,1,1", 0)])
def test_slurm_step_is_a_cluster_of_its_hosts(monkeypatch, nodes, tasks, index):
    step = {"STEP_NUM_TASKS": "3", "STEP_NODELIST": nodes, "STEP_TASKS_PER_NODE": tasks, "PROCID": str(index)}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert find_cluster() == Cluster(("gpu01:8888", "gpu02:8888", "gpu03:8888"), index)


def test_slurm_tasks_of_one_host_have_ports_of_their_own(monkeypatch):
    step = {"STEP_NUM_TASKS": "4", "STEP_NODELIST": "n[1-2]", "STEP_TASKS_PER_NODE": "2(x2)", "PROCID": "3"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert find_cluster() == Cluster(("n1:8888", "n1:8889", "n2:8888", "n2:8889"), 3)


def test_slurm_job_of_one_task_is_no_cluster(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert find_cluster().count == 1


def test_kubernetes_pods_find_each_other_by_their_names(monkeypatch):
    manifest = (LAUNCHERS / "kubernetes.yaml").read_text()
    lines = re.search(r"- \|\n(.*?)exec rsr", manifest, re.DOTALL).group(1)
    script = "\n".join(line.strip() for line in lines.splitlines()) + '\necho "$TF_CONFIG"'
    environment = {**os.environ, "WORKERS": "4", "JOB_COMPLETION_INDEX": "2"}
    found = subprocess.run(["bash", "-uc", script], env=environment, capture_output=True, text=True, check=True)
    monkeypatch.setenv("TF_CONFIG", found.stdout)
    assert find_cluster() == Cluster(tuple(f"rsr-{index}.rsr:2222" for index in range(4)), 2)


WORKER = """
import json, os, pathlib, sys
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
with open("starts", "a") as file:
    file.write(os.environ["TF_CONFIG"] + "\\n")
codes = json.loads(sys.argv[1])
tries = sum('"index": %d}' % index in line for line in open("starts"))
sys.exit(codes[index][tries - 1])
"""


@pytest.mark.parametrize(
    ("codes", "starts", "ends_with"),
    [
        ([[0], [0]], 2, 0),
        ([[75, 0], [137, 0]], 4, 0),  # a worker was killed: both start again
        ([[75, 75], [2, 2]], 4, 75),  # a lost one, again and again
        ([[2], [2]], 2, 2),  # a mistake in the config
    ],
)
def test_launcher_of_one_host_starts_all_again_when_one_was_lost(tmp_path, codes, starts, ends_with):
    (tmp_path / "worker.py").write_text(WORKER)
    command = ["bash", LAUNCHERS / "one_host.sh", "2", os.sys.executable, "worker.py", json.dumps(codes)]
    environment = {**os.environ, "RSR_TRIES": "2"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    lines = (tmp_path / "starts").read_text().splitlines()
    assert (len(lines), done.returncode) == (starts, ends_with)
    assert json.loads(lines[0])["cluster"] == {"worker": ["localhost:2222", "localhost:2223"]}
