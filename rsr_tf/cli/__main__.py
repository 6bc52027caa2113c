"""`python -m rsr_tf.cli` is the same as `rsr`."""

from rsr_tf.cli import main

main()
