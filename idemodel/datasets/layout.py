"""What a layout of a data set is: a frozen dataclass that finds pairs, its fields its settings; knows no data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from idemodel.datasets.listing import Listing
from idemodel.datasets.sources import Source

_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """What a user is told of a layout's setting.

    help : str
        A phrase without a full stop.
    values : tuple of str, range, or None
        What it may be; None: any text.
    metavar : str or None
        What stands for its value in the help; None: its values, or TEXT.
    default : object
        None where it has no default to tell of.
    """

    help: str
    values: tuple[str, ...] | range | None = None
    metavar: str | None = None
    default: Any = None


def setting(
    text: str, *, values: tuple[str, ...] | range | None = None, metavar: str | None = None, default: Any = None
) -> Any:
    """A field of a layout that a user may set; the parameters are those of :class:`Setting`."""
    return field(default=default, metadata={_KEY: Setting(text, values, metavar, default)})


@dataclass(frozen=True)
class Layout(ABC):
    """How the pairs of a data set are found; a subclass has a ``name``, a line ``about`` it, and its own settings."""

    name: ClassVar[str]
    about: ClassVar[str]

    @abstractmethod
    def find(self, source: Source) -> Listing:
        """List the pairs of a source.

        Raises
        ------
        InputError
            The source does not have what the layout cannot do without, or a setting cannot be used.
        """

    @property
    def folders(self) -> tuple[tuple[str, str], ...]:
        """(side, folder) of every folder that the user named for the photos or the sketches."""
        return ()

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """The settings by name, in the order of the fields."""
        return {each.name: each.metadata[_KEY] for each in fields(cls)}


@dataclass(frozen=True)
class LayoutWithFolders(Layout):
    """A layout whose user may say where the photos and the sketches are: within the source, or elsewhere."""

    photos: str | None = setting("Folder of the photos: within SRC, or a folder or archive elsewhere", metavar="DIR")
    sketches: str | None = setting("The same for the sketches", metavar="DIR")

    @property
    def folders(self) -> tuple[tuple[str, str], ...]:
        """(side, folder) of those that were named."""
        named = (("photo", self.photos), ("sketch", self.sketches))
        return tuple((side, folder) for side, folder in named if folder)
