"""``python -m idecli``: the command, for launchers such as torchrun that start modules."""

from .main import main

main()
