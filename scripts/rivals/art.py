"""ART's `AdversarialTrainerMadryPGD`: trains on the adversarial batch alone, without noise or lasso."""

import keras
import numpy as np
import tensorflow as tf
from art.defences.trainer import AdversarialTrainerMadryPGD
from art.estimators.classification import TensorFlowV2Classifier

import rsr_tf
from rivals import EPSILON, LEARNING_RATE, STEP_SIZE, ours


def build(settings):
    model = rsr_tf.strip(ours.network(settings))
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=0.9, nesterov=True)
    optimizer.build(model.trainable_variables)
    classifier = TensorFlowV2Classifier(
        model=model,
        nb_classes=10,
        input_shape=(32, 32, 3),
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        optimizer=optimizer,
        clip_values=(0.0, 1.0),
    )
    trainer = AdversarialTrainerMadryPGD(
        classifier,
        nb_epochs=1,
        batch_size=settings["batch"],
        eps=EPSILON,
        eps_step=STEP_SIZE,
        max_iter=settings["steps"],
    )
    x, y = ours.batch(settings)
    x, y = x.numpy(), np.eye(10, dtype="float32")[y.numpy()]
    return lambda: trainer.fit(x, y, nb_epochs=1, batch_size=settings["batch"])
