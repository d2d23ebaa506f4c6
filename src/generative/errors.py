"""What a user can mend: an error that a stage prints as one message, without a traceback."""


class UsageError(Exception):
    """Names the file, the key and what was expected. Raised before anything that stood there is touched."""
