"""The one kind of error a person is meant to read."""


class LandfallError(Exception):
    """Something a person can put right: the message says what was wrong, with what value, and what to do.

    The command line prints it without a traceback; everything else is our own mistake and shows where it was made.
    """
