"""Give commands that open devices the options of the kinds of devices, without naming any kind."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from harness.cli.options import MarkdownCommand

if TYPE_CHECKING:
    from harness.devices import DeviceOption, Selection

GIVEN = "harness.devices.given"
"""The key under which a command's context keeps the values."""


class _TakesOptions:
    name: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's own parameters, with those of the installed kinds after ``--device``, or first."""
        own: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        names = [parameter.name for parameter in own]
        after = names.index("device") + 1 if "device" in names else 0
        return [*own[:after], *_parameters(str(self.name), [name for one in own for name in one.opts]), *own[after:]]


class OpeningCommand(_TakesOptions, MarkdownCommand):
    """Define a command with ``--device``. Its function gets the context, and the devices from :func:`selected`."""


class LookingCommand(_TakesOptions, TyperCommand):
    """Define a command that looks at what is attached. Its function gets the context, and the values from
    :func:`given`."""


class LookingGroup(_TakesOptions, TyperGroup):
    """Define commands below one that looks at what is attached, in the same way."""


def given(context: typer.Context) -> Mapping[str, Any]:
    """Return the values of the options that the installed kinds of devices bring, by their keys."""
    found: Mapping[str, Any] = context.meta.get(GIVEN, {})
    return found


def selected(context: typer.Context, device: str, *, unattended: bool = False) -> Selection:
    """Return the devices that the command line selects; raises UnknownDevice or UsageError.

    Where nobody waits for an ``unattended`` command, options have their values for that.
    """
    from harness.devices import parse_device
    from harness.devices.kinds import known_kind

    found = parse_device(device, **given(context))
    if not unattended:
        return found
    aside = {
        option.key: option.unattended
        for option in known_kind(found.kind).options
        if option.unattended is not None and found.options.get(option.key) is None
    }
    return replace(found, options={**found.options, **aside})


def typed(context: typer.Context, *, leave_out: Collection[str] = ()) -> list[str]:
    """Return the options that the command was given, with those of the installed kinds, as a command line has them."""
    values = {**context.params, **given(context)}
    found: list[str] = []
    for parameter in context.command.get_params(context):
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in leave_out or source is None or source.name in ("DEFAULT", "DEFAULT_MAP"):
            continue
        value = values.get(name)
        if value is True:
            found.append(parameter.opts[0])
        elif value is not None and value is not False:
            for one in value if isinstance(value, list | tuple) else (value,):
                found += [parameter.opts[0], str(one)]
    return found


def _parameters(command: Any, taken: list[str]) -> list[Any]:
    """Return typer's parameters, whose values go into the context and not to the command's function."""
    from harness.devices import device_kinds, device_options

    offered = device_options(device_kinds().values(), command, taken=taken)
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


def _declared(key: str, option: DeviceOption) -> inspect.Parameter:
    wanted: Any = bool if option.switch else list[str] | None if option.several else str | None
    default = typer.Option(
        False if option.switch else None, *option.names, metavar=None if option.switch else option.metavar,
        help=option.help, show_default=False,
    )  # fmt: skip
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=wanted)


def _keep(context: Any, parameter: Any, value: Any) -> Any:
    context.meta.setdefault(GIVEN, {})[parameter.name] = value
    return value
