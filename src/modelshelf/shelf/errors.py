"""All errors that modelshelf raises: one root, five families, an exit code each.

The message of an error is one sentence that names the thing and what is wrong with it. Its hint
says what to do next. Neither holds a token or a signed URL.
"""


class Error(Exception):
    """Root of all errors that modelshelf raises on purpose.

    Attributes:
        exit_code: The exit code of a command that ends with this error.
        hint: What to do next; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(Error):
    """The request cannot be understood: a bad name, option or spec."""

    exit_code = 2


class SourceError(Error):
    """A source cannot be reached, or it failed again after retries."""

    exit_code = 15


class NotAuthorisedError(SourceError):
    """The source wants a token, another token, or that the user accepts a licence."""

    exit_code = 10


class NotFoundError(SourceError):
    """The source has no such model, revision or file."""

    exit_code = 11


class IntegrityError(Error):
    """Content does not match what its source states, or is damaged on the shelf."""

    exit_code = 14


class RefusedError(IntegrityError):
    """Policy refuses the content: an unsafe name, a pickle, code that would be executed."""


class ShelfError(Error):
    """The shelf cannot do what was asked."""


class NotAShelfError(ShelfError):
    """The folder is not a shelf, or a newer modelshelf made it."""

    exit_code = 2


class NotOnShelfError(ShelfError):
    """The shelf has no such model, tag or snapshot."""

    exit_code = 11


class NoSpaceError(ShelfError):
    """The filesystem has no room for the bytes."""

    exit_code = 12


class NotWritableError(ShelfError):
    """This user may not write where the shelf lies."""

    exit_code = 13


class BusyError(ShelfError):
    """Another process reads or writes the thing, or a wait for it took too long."""

    exit_code = 16


class TargetError(Error):
    """The machine or the cluster that should serve a model refused, or did not get ready."""

    exit_code = 20


class TimedOutError(TargetError):
    """The target did not get ready before its deadline."""

    exit_code = 16
