"""The one exception for mistakes that a user can cure."""


class InputError(ValueError):
    """A wrong config value, file or data set.

    Its message is one sentence that names the file or key and says what to do; ``train_net.py``
    prints that sentence instead of a traceback and exits with status 1.
    """


def one_line(error: Exception) -> str:
    """The text of an error of a library, which may go over several lines, for one sentence."""
    return " ".join(str(error).split())
