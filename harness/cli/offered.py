"""Give commands the options that installed kinds bring, without naming any kind."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from harness.core.options import Option

GIVEN = "harness.given"
"""The key under which a command's context keeps the values."""


class OffersOptions(ABC):
    """Mix into a command of typer: its options from kinds follow ``--device`` or ``--models``, or come first."""

    name: str | None

    @abstractmethod
    def offered(self, taken: Collection[str]) -> Mapping[str, Option]:
        """Return the options by their keys; ``taken`` are the names of the command's own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's own parameters with those of the installed kinds."""
        own: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        names = [parameter.name for parameter in own]
        after = next((names.index(name) + 1 for name in ("device", "models") if name in names), 0)
        offered = self.offered([name for one in own for name in one.opts])
        return [*own[:after], *_parameters(offered), *own[after:]]


def given(context: typer.Context) -> Mapping[str, Any]:
    """Return the values of the options that the installed kinds bring, by their keys."""
    found: Mapping[str, Any] = context.meta.get(GIVEN, {})
    return found


def _parameters(offered: Mapping[str, Option]) -> list[Any]:
    """Return typer's parameters, whose values go into the context and not to the command's function."""
    if not offered:
        return []

    def function() -> None:
        """Takes the options, so that typer makes parameters of them."""

    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_declared(key, option) for key, option in offered.items()]
    )
    app = typer.Typer(add_completion=False)
    app.command()(function)
    parameters = list(get_command(app).params)
    for parameter in parameters:
        parameter.expose_value = False
        parameter.callback = _keep
    return parameters


def _declared(key: str, option: Option) -> inspect.Parameter:
    one: Any = {str: str | None, int: int | None, Path: Path | None}[option.value]
    wanted: Any = bool if option.switch else list[str] | None if option.several else one
    names = [f"{name}/{option.off}" if option.off else name for name in option.names]
    usual = bool(option.default) if option.switch else None
    shown = option.help if option.switch or option.default is None else f"{option.help} ({option.default})"
    least, most = option.limits or (None, None)
    default = typer.Option(
        usual, *names, metavar=None if option.switch else option.metavar, help=shown, show_default=bool(option.off),
        min=least, max=most,
    )  # fmt: skip
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=wanted)


def _keep(context: Any, parameter: Any, value: Any) -> Any:
    context.meta.setdefault(GIVEN, {})[parameter.name] = value
    return value
