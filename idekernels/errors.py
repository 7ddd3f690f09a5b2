"""The errors that are a user's to mend; each message is one line that names the file or value and the remedy."""


class InputError(ValueError):
    """What was given cannot be used: a missing or broken file, a wrong size, a setting out of range."""


class BankError(InputError):
    """A patch bank that is not one, is damaged, or does not fit what it is asked for."""
