"""Give commands that open devices the options of the kinds of devices, without naming any kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from harness.cli.offered import OffersOptions, given
from harness.cli.options import MarkdownCommand
from harness.core.options import Option

if TYPE_CHECKING:
    from harness.devices import Selection


class _TakesOptions(OffersOptions):
    def offered(self, taken: Collection[str]) -> Mapping[str, Option]:
        from harness.devices import device_kinds, device_options

        command: Any = self.name
        return device_options(device_kinds().values(), command, taken=taken)


class OpeningCommand(_TakesOptions, MarkdownCommand):
    """Define a command with ``--device``. Its function gets the context, and the devices from :func:`selected`."""


class LookingCommand(_TakesOptions, TyperCommand):
    """Define a command that looks at what is attached. Its function gets the context, and the values from
    :func:`given`."""


class LookingGroup(_TakesOptions, TyperGroup):
    """Define commands below one that looks at what is attached, in the same way."""


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
