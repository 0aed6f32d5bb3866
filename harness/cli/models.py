"""Give commands that open models the options of the kinds of workloads, without naming any kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from typer.core import TyperCommand

from harness.cli.offered import OffersOptions
from harness.core.options import Option
from harness.models.options import ModelCommand as Name


class ModelCommand(OffersOptions, TyperCommand):
    """Define a command with ``--models``. Its function gets the context, and the values from :func:`offered.given`."""

    command: ClassVar[Name]

    @classmethod
    def of(cls, command: Name) -> type[ModelCommand]:
        """Return the class of commands that show the options for ``command``."""
        return type(f"ModelCommand_{command}", (cls,), {"command": command})

    def offered(self, taken: Collection[str]) -> Mapping[str, Option]:
        from harness.models.kinds import model_options

        return model_options(self.command, taken=taken)
