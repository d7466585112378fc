"""Every error modelshelf raises: one root, four families, an exit code each.

An error's message is one sentence that names the thing and what was wrong; its hint says what to
do next. Neither ever holds a token or a signed URL.
"""


class Error(Exception):
    """Root of all errors raised on purpose.

    Attributes:
        exit_code: What a command line exits with.
        hint: What to do next; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(Error):
    """The request itself makes no sense: a bad name, option or spec."""

    exit_code = 2


class SourceError(Error):
    """A source cannot be reached or keeps failing (it was retried first)."""

    exit_code = 15


class NotAuthorisedError(SourceError):
    """The source wants a token, another token, or an accepted licence."""

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
    """Somebody is reading or writing the thing, or it did not come in time."""

    exit_code = 16


class TargetError(Error):
    """Where the model should be served refused, or did not get ready."""

    exit_code = 20


class TimedOutError(TargetError):
    """The target did not get ready before its deadline."""

    exit_code = 16
