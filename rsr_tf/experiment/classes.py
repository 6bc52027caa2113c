"""The classes of a network, whose order is part of it: a label is a number."""

from rsr_tf.errors import UserError


def check_classes(known, data_set, path):
    """Check that the classes of a data set have the numbers that a network was trained with.

    A class folder that was added, removed or renamed changes the numbers of those that come after it.

    Args:
        known: list of the names of the classes that the network was trained with; empty if they are unknown.
        data_set: a `DataSet`.
        path: name of the network in messages.

    Raises:
        UserError: for a class of the same name, but another number.
    """
    for number, name in enumerate(data_set.class_names):
        if name in known and known.index(name) != number:
            raise UserError(
                f"{path} must have classes with the numbers of its training, where {name} was {known.index(name)}. "
                f"Received: data in which it is {number}"
            )
