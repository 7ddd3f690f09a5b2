"""The ``idesketch`` commands, installed as ``idecli``: parse, call, show; no algorithm lives here."""
