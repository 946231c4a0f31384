"""The one exception for mistakes that a user can cure."""


class InputError(ValueError):
    """A wrong config value, file or data set.

    Its message is one sentence that names the file or key and says what to do; ``train_net.py``
    prints that sentence instead of a traceback and exits with status 1.
    """
