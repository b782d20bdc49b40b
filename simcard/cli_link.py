"""The options by which every `landfall sim` command is told its card: those of osmocom pySim, and `--card FOLDER`.

@app.command()
@on_card
def read(where: LinkOptions, pin: …) -> None: …     # typer sees --card, -p, --pcsc-regex, --pcsc-shared, --pin
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from simcard.readers import LinkOptions

PANEL = "Which card"

CardOption = Annotated[
    Path | None, typer.Option("--card", help="Folder of a software card.", show_default=False, rich_help_panel=PANEL)
]
DeviceOption = Annotated[
    int | None,
    typer.Option("-p", "--pcsc-device", help="Number of a PC/SC reader.", show_default=False, rich_help_panel=PANEL),
]
RegexOption = Annotated[
    str | None,
    typer.Option(help="The first PC/SC reader whose name matches.", show_default=False, rich_help_panel=PANEL),
]
SharedOption = Annotated[
    bool, typer.Option("--pcsc-shared", help="Let other programs use the card too.", rich_help_panel=PANEL)
]

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "card": (CardOption, None),
    "pcsc_device": (DeviceOption, None),
    "pcsc_regex": (RegexOption, None),
    "pcsc_shared": (SharedOption, False),
}


def on_card(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the four options in the place of its first parameter, which receives them as `LinkOptions`."""
    hints = get_type_hints(command, include_extras=True)
    _, *rest = inspect.signature(command).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=keyword, annotation=hints[p.name]) for p in rest] + [
        inspect.Parameter(name, keyword, annotation=hint, default=default) for name, (hint, default) in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(LinkOptions(**{name: given.pop(name) for name in _OPTIONS}), **given)

    # What typer reads to learn the options.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run
