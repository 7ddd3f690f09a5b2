"""The table of data set layouts, a row each, and the public names of the import; reads and writes nothing itself.

A layout is a module of this folder and a row of the table: the command takes names, lines of help, settings and their
defaults from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from idemodel.datasets.cufs import Cufs
from idemodel.datasets.cufsf import Cufsf
from idemodel.datasets.fs2k import Fs2k
from idemodel.datasets.layout import Layout, LayoutWithFolders, Setting
from idemodel.datasets.listing import Settings
from idemodel.datasets.pairs import Pairs

__all__ = ["LAYOUTS", "Layout", "LayoutWithFolders", "Setting", "Settings"]

LAYOUTS: Mapping[str, type[Layout]] = MappingProxyType({layout.name: layout for layout in (Cufs, Cufsf, Fs2k, Pairs)})
