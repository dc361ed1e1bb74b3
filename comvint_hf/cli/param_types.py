"""The forms that values of flags take: lists of names, numbers or names of tasks, NAME=NUMBER."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from comvint_hf.errors import InputError


class Several(click.ParamType):
    """Names joined by commas, each one of a known set, as in `--formats open,bool`."""

    name = "several"

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(self.names) + "[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        chosen = value if isinstance(value, tuple) else tuple(name.strip() for name in value.split(",") if name.strip())
        unknown = [name for name in chosen if name not in self.names]
        if unknown or not chosen:
            self.fail(
                f"{', '.join(unknown) or 'nothing'} was given: expected some of {', '.join(self.names)}, joined by commas.",
                param,
                ctx,
            )
        return tuple(dict.fromkeys(chosen))


class Tasks(click.ParamType):
    """How many tasks, or which: a number, or names of `kinds` joined by commas."""

    name = "tasks"

    def __init__(self, kinds: tuple[str, ...] = ()) -> None:
        self.kinds = Several(kinds)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"N|{self.kinds.get_metavar(param, ctx)}" if self.kinds.names else "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[str, ...]:
        if not isinstance(value, str):
            return value
        if value.isdecimal() and int(value):
            return int(value)
        if self.kinds.names and not value.lstrip("-").replace(".", "").isdecimal():
            return self.kinds.convert(value, param, ctx)
        names = f", or some of {', '.join(self.kinds.names)}" if self.kinds.names else ""
        self.fail(f"{value!r} was given: expected a number from 1{names}.", param, ctx)


def limits(settings: tuple[str, ...]) -> dict[str, int]:
    """Read "name=number" settings. Raises `InputError` for any other form.

    >>> limits(("conversation=20000",))
    {'conversation': 20000}
    """
    read = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        if not name or not number.isdecimal():
            raise InputError(f"{setting!r} is not of the form NAME=NUMBER, as in conversation=20000.")
        read[name] = int(number)
    return read
