"""Run the training step of this library on an accelerator that has JAX but no TensorFlow.

`lower.py` writes the step that XLA would compile for `fit` as StableHLO, with the state of the training; `run.py`
compiles and runs it with JAX; `load.py` brings the state back into a run folder. `rival.py` is the same step in
PyTorch, and `job.py` does all of it within a time limit. docs/accelerator.md says how to use them.
"""
