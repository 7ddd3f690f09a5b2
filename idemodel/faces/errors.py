"""What goes wrong with faces and is mended by giving the eyes; how they are given depends on who asks."""

from __future__ import annotations

from idekernels.errors import InputError


class EyesWanted(InputError):
    """A photo that can be used once a person says where the eyes are.

    what : str, the mistake without a remedy, for those who tell their own. The message has the command line's.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"
