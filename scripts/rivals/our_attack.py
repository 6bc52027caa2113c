"""The PGD of this library's evaluation over the batch of the settings; an attack, no training."""

from rivals import EPSILON, STEP_SIZE, ours
from rsr_tf import evaluation


def build(settings):
    model_fn = evaluation.as_model_fn(ours.network(settings))
    x, y = (tensor.numpy() for tensor in ours.batch(settings))
    attacks = evaluation.build_attacks(model_fn, epsilon=EPSILON, step_size=STEP_SIZE, steps=settings["steps"])
    accuracy = evaluation.accuracy_under(attacks["pgd"], model_fn, batch_size=250)
    return lambda: accuracy(x, y)
