"""Images that threads read without a word: what a person should hear of one is told when its turn has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from idekernels.files.notices import Notice, put_off, tell_once

Read = TypeVar("Read")


@dataclass(frozen=True)
class Heard(Generic[Read]):
    """What was read of an image, and what a person is to be told of that."""

    content: Read
    notices: tuple[Notice, ...] = ()


def quietly(read: Callable[[Path], Read]) -> Callable[[Path], Heard[Read]]:
    """A function that reads as ``read`` does and keeps what a person is to be told, for :func:`tell_in_turn`.

    Of an image that cannot be used it is told at once.
    """

    def quiet(file: Path) -> Heard[Read]:
        notices: list[Notice] = []
        try:
            with put_off(notices):
                content = read(file)
        except BaseException:
            _tell(notices)
            raise
        return Heard(content, tuple(notices))

    return quiet


def tell_in_turn(_: Path, heard: Heard[Any]) -> None:
    """Tell what was put off while an image was read."""
    _tell(heard.notices)


def _tell(notices: tuple[Notice, ...] | list[Notice]) -> None:
    for notice in notices:
        tell_once(*notice)
