"""The one exception that a user is meant to read."""


class InputError(Exception):
    """Bad input or settings: one clear sentence that says what is wrong and what to do.

    The command line prints the sentence and exits with code 2; nothing else in the package is caught.
    """
