"""Errors of other libraries in one line."""


def first_line(error):
    """The first line of an error's message that says something, or its kind if it has no message.

    TensorFlow begins an error that comes from within a graph with "in user code:" and a traceback; its last line says
    what is wrong.
    """
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[-1].strip() if lines[0].startswith("in user code:") else lines[0]
