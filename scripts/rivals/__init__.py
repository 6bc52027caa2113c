"""The ways to do one step of robust training that `scripts/benchmark.py` compares, a module each.

Every module has `build(settings)`, which returns a function without arguments that does one step on a fixed batch
and returns when it is done. Settings are a dict: `network` (name), `batch`, `steps` of the attack, `precision`
("float32" or "bfloat16") and `noise` (a kind of `rsr_tf`); `width` and `image`, the factor on the filters and the
side of the images, are for `ours` alone. Epsilon is 8/255, the step 2/255, the start random, the loss that of Eq. 6
with lasso 5e-5, the optimizer SGD with Nesterov momentum; where a rival does less, its docstring says so.
"""

EPSILON, STEP_SIZE, LASSO, LEARNING_RATE = 8 / 255, 2 / 255, 5e-5, 0.01
