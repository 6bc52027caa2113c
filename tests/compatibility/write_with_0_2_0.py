"""Write `version_0_2_0.tar.xz`: what version 0.2.0 (commit ac623d0) left on disk, for `test_version_0_2_0.py`.

Run once with that version installed: `python write_with_0_2_0.py FOLDER`. It is kept to show what the archive holds.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CONFIG = """\
seed = 3
data.name = "digits"
model = {name = "small_cnn", width = 0.25, lasso = 1e-5}
attack = {epsilon = 0.1, step_size = 0.05, steps = 2}
training = {epochs = 8, batch_size = 32, optimizer = "adam", learning_rate = 1e-2, schedule = "cosine"}
undefended.epochs = 1
evaluation = {epsilon = 0.1, step_size = 0.025, steps = 5, images = 40, draws = 2, batch_size = 40}
"""


def rsr(*arguments):
    return [sys.executable, "-m", "rsr_tf.cli", *map(str, arguments)]


def stop_when(command, is_time):
    """Run a command and kill it (SIGKILL) once a condition holds."""
    process = subprocess.Popen(command)
    while not is_time():
        if process.poll() is not None:
            raise SystemExit(f"ended too early: {command}")
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def write_network(folder):
    """A pruned noisy network with attack, group lasso and the optimizer's memory, as `.keras` and as archive."""
    import keras
    import numpy as np

    import rsr_tf

    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype("float32")
    labels = np.random.default_rng(1).integers(0, 10, 64)
    plain = rsr_tf.models.small_cnn(width=0.125, lasso=1e-4, group_lasso=1e-4)
    attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)
    model = rsr_tf.RSRModel(plain.inputs, plain.outputs, attack=attack, seed=5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), loss, metrics=["accuracy"])
    model.fit(images, labels, batch_size=16, epochs=1, verbose=0)
    rsr_tf.prune(model, sparsity=0.5)
    model.fit(images, labels, batch_size=16, epochs=1, verbose=0)
    model.save(folder / "network.keras")
    rsr_tf.save_compact(model, folder / "network.rsrz")
    rsr_tf.export_saved_model(model, folder / "saved_model")
    noisy = model.predict(images[:8], verbose=0)  # with the noise that follows what was saved
    history = model.fit(images, labels, batch_size=16, epochs=1, verbose=0, shuffle=False).history
    expected = {
        "noisy_logits": noisy.tolist(),
        "stripped_logits": rsr_tf.strip(keras.models.load_model(folder / "network.keras"))
        .predict(images[:8], verbose=0)
        .tolist(),
        "history": history,
        "sparsity": rsr_tf.sparsity(model),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    write_network(folder)
    config = folder / "config.toml"
    config.write_text(CONFIG)

    finished, stopped = folder / "finished", folder / "stopped"
    subprocess.run(rsr("run", config, "--output", finished), check=True)
    stop_when(
        rsr("train", config, "--output", stopped), lambda: list((stopped / "checkpoints").glob("train-0002.keras"))
    )

    suite = ("evaluate", finished, "--suite", "quick", "--images", 20)
    subprocess.run(rsr(*suite), check=True)
    state, verdict = finished / "suites" / "quick_20", finished / "verdict_quick_20.json"
    verdict.rename(folder / "verdict_of_unstopped_suite.json")
    state.rename(folder / "state_of_unstopped_suite")
    stop_when(rsr(*suite), lambda: list(state.glob("APGD-CE*")))
    subprocess.run(["rm", "-r", folder / "state_of_unstopped_suite"], check=True)

    subprocess.run(rsr("evaluate", finished, "--suite", "quick", "--images", 10), check=True)
    subprocess.run(rsr("sweep", finished, "--sparsities", "0.5"), check=True)
    subprocess.run(rsr("artefacts", finished), check=True)
    subprocess.run(rsr("zoo", finished, "--images", 1, "--noise", "off", "--group", 1), check=True)
    subprocess.run(rsr("transfer", finished, "--images", 10, "--steps", 2, "--output", folder / "transfer"), check=True)


if __name__ == "__main__":
    main()
