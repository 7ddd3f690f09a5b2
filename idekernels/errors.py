"""The errors that are a user's to mend; each message is one line that names the file or value and the remedy."""

from __future__ import annotations

_LONGEST = 200  # characters of a reason


class InputError(ValueError):
    """What was given cannot be used: a missing or broken file, a wrong size, a setting out of range."""


class BankError(InputError):
    """A patch bank that is not one, is damaged, or does not fit what it is asked for."""


def in_short(reason: object) -> str:
    """A library's complaint, or what a file says, as one short line in which nothing is left that a terminal obeys."""
    text = printable(" ".join(str(reason).split())) or type(reason).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def printable(text: str) -> str:
    """The text with all that cannot be printed written as an escape: control characters, halves of characters."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
