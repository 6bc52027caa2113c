import keras
import pytest
from stock_layers import STOCK


@pytest.fixture(params=STOCK)
def stock(request):
    """Build a stock model of one layer, with an activation and a bias that affect the outputs."""
    layer, shape = STOCK[request.param]
    config = {**layer.get_config(), "name": "layer", "activation": "tanh", "bias_initializer": "normal"}
    return keras.Sequential([keras.Input(shape), type(layer).from_config(config)])
