"""Options that several `landfall sim` commands share, given to a command as one value.

    @app.command()
    @on_card
    def read(where: LinkOptions, pin: …) -> None: …     # typer sees --card, -p, --pcsc-regex, --modem-device …, --pin

The card is told by the options of osmocom pySim, or as the folder of a software card.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from simcard.readers import LinkOptions
from simcard.readers.modem import BAUD

Options = Mapping[str, tuple[Any, Any]]
Command = Callable[..., None]


def bundle(parameter: str, make: Callable[..., Any], options: Options) -> Callable[[Command], Command]:
    """A decorator that replaces `parameter` of a command by `options` (annotation and default by name).

    The command receives `make(**values)` instead of them.
    """

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [p for p in inspect.signature(command).parameters.values() if p.name != parameter]
        shown = [p.replace(kind=keyword, annotation=hints.get(p.name, p.annotation)) for p in own] + [
            inspect.Parameter(name, keyword, annotation=hint, default=default)
            for name, (hint, default) in options.items()
        ]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            command(**{parameter: make(**{name: given.pop(name) for name in options})}, **given)

        # What typer reads to learn the options, and the next decorator too.
        run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in shown}
        del run.__wrapped__
        return run

    return decorate


PANEL = "Which card"

on_card = bundle(
    "where",
    LinkOptions,
    {
        "card": (
            Annotated[
                Path | None,
                typer.Option("--card", help="Folder of a software card.", show_default=False, rich_help_panel=PANEL),
            ],
            None,
        ),
        "pcsc_device": (
            Annotated[
                int | None,
                typer.Option(
                    "-p", "--pcsc-device", help="Number of a PC/SC reader.", show_default=False, rich_help_panel=PANEL
                ),
            ],
            None,
        ),
        "pcsc_regex": (
            Annotated[
                str | None,
                typer.Option(help="The first PC/SC reader whose name matches.", rich_help_panel=PANEL),
            ],
            None,
        ),
        "pcsc_shared": (
            Annotated[
                bool, typer.Option("--pcsc-shared", help="Let other programs use the card too.", rich_help_panel=PANEL)
            ],
            False,
        ),
        "modem_device": (
            Annotated[
                Path | None,
                typer.Option(help="Serial line of a modem that has the card, by AT+CSIM.", rich_help_panel=PANEL),
            ],
            None,
        ),
        "modem_baud": (Annotated[int, typer.Option(help="Its speed.", rich_help_panel=PANEL)], BAUD),
    },
)
