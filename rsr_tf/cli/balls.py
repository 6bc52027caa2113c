"""The options `--norm` and `--epsilon` of the commands that attack in a ball of the user's choice."""

import click

from rsr_tf.choices import NORMS


def ball_options(of):
    """Return the options `--norm` and `--epsilon`.

    Args:
        of: string, whose ball it is, such as `"of the suite"`.
    """
    norm = click.option("--norm", type=click.Choice(NORMS), help=f"Norm of the ball {of} [linf].")
    epsilon = click.option(
        "--epsilon",
        metavar="E",
        callback=_read_epsilon,
        help="Its radius, such as 8/255 [evaluation.epsilon in linf, 0.5 in l2].",
    )
    return lambda function: norm(epsilon(function))


def refuse_ball(reason):
    """Return options `--norm` and `--epsilon` that are refused, for commands whose ball is fixed.

    Args:
        reason: string, why there is no choice.
    """

    def refuse(context, parameter, value):
        if value is not None:
            raise click.UsageError(f"{parameter.opts[0]} does not go with {context.info_name}: {reason}")

    hidden = {"expose_value": False, "hidden": True, "callback": refuse}
    norm, epsilon = click.option("--norm", **hidden), click.option("--epsilon", **hidden)
    return lambda function: norm(epsilon(function))


def _read_epsilon(context, parameter, text):
    """Read one positive number or fraction; how large it may be depends on norm and images."""
    from rsr_tf.config import Positive, parse_numbers

    numbers = parse_numbers(text, Positive, source="--epsilon")
    if len(numbers) > 1:
        raise click.UsageError(f"--epsilon must be one number. Received: {text}")
    return numbers[0] if numbers else None
