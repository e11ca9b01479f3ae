"""What goes wrong with credentials."""


class CredentialsError(RuntimeError):
    """There are no usable credentials; the message says which file or entry, and what to do."""
