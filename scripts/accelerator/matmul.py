"""What the device reaches at most: a large product of bfloat16 matrices."""

import jax
import jax.numpy as jnp

SIZE = 8192
FLOPS = 2 * SIZE**3


def build(settings):
    """Return a function that multiplies two random matrices `settings["repeats"]` times, for `rivals.worker`."""
    left, right = (jax.random.normal(jax.random.key(seed), (SIZE, SIZE), jnp.bfloat16) for seed in (0, 1))
    product = jax.jit(jnp.matmul)

    def step():
        for _ in range(settings["repeats"]):
            result = product(left, right)
        jax.block_until_ready(result)

    return step
