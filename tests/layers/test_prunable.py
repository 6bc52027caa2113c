import keras
import numpy as np
import pytest
from helpers import compiled
from stock_layers import inputs_for

import rsr_tf
from rsr_tf.layers import make_prunable


def test_stock_layer_is_made_prunable_in_place(stock):
    x = inputs_for(stock)
    before, layer, variables = stock(x), stock.layers[0], list(stock.variables)
    make_prunable(stock)
    assert stock.layers[0] is layer
    assert all(any(variable is other for other in stock.variables) for variable in variables)
    np.testing.assert_allclose(stock(x), before, atol=1e-6)
    rsr_tf.prune(stock, sparsity=0.5)
    np.testing.assert_allclose(stock(x), rsr_tf.strip(stock)(x), atol=1e-5)
    assert rsr_tf.sparsity(stock) == pytest.approx(0.5, abs=0.02)


def test_other_layers_and_noisy_ones_stay_as_they_are(noisy_model):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.LayerNormalization()])
    for network in (model, noisy_model):
        before = [(type(layer), [weight.path for weight in layer.weights]) for layer in network.layers]
        make_prunable(network)
        assert [(type(layer), [weight.path for weight in layer.weights]) for layer in network.layers] == before


def test_model_that_has_predicted_is_traced_again_with_its_masks(images):
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, use_bias=False)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    assert np.abs(model.predict(images, verbose=0)).min() > 0
    make_prunable(model)
    model.layers[-1].mask.assign(np.zeros((64, 3), bool))
    np.testing.assert_array_equal(model.predict(images, verbose=0), np.zeros((16, 3)))


def test_optimizer_of_a_compiled_model_is_kept(images, labels):
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    model = compiled(keras.Sequential([keras.Input((8, 8, 1)), *layers]), keras.optimizers.SGD(0.1, momentum=0.9))
    model.fit(images, labels, verbose=0)
    before = [np.array(variable) for variable in model.optimizer.variables]
    make_prunable(model)
    for old, variable in zip(before, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(variable, old)
    assert model.optimizer.iterations == 1


def test_subclassed_model_is_refused():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"`model` must be .*functional or Sequential.* Received"):
        make_prunable(Subclassed())
