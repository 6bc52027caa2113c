import numpy as np
import pytest
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
