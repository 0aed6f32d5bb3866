"""Note which operator of the exported graph each imported value is, while TVM's importer walks the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx
from torch.export import ExportedProgram
from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

from harness.compiler.graph.origins import Origin, Origins
from harness.compiler.importer.unsupported import SORTING, BoundConverter, module_path
from harness.compiler.observe.provenance import Operator


def traced(
    exported: ExportedProgram, ours: Mapping[str, BoundConverter], origins: Origins
) -> dict[str, BoundConverter]:
    """Return importer entries for all operators of the program: ``ours``, else TVM's. They also fill ``origins``."""
    names = {node.target.__name__ for node in exported.graph.nodes if node.op == "call_function"}
    known = (ExportedProgramImporter().convert_map.keys() - SORTING) | ours.keys()
    # TVM names all operators that it lacks in one error.
    return {name: _traced(name, ours.get(name), origins) for name in sorted(names & known)}


def _traced(name: str, ours: BoundConverter | None, origins: Origins) -> BoundConverter:
    def convert(node: fx.Node, importer: Any) -> Any:
        # In the importer's own map, this function replaces TVM's entry.
        result = importer.create_convert_map()[name](node) if ours is None else ours(node, importer)
        number = len(origins.operators)
        origins.operators.append(_operator(node))
        _note(result, Origin(frozenset((number,)), number), origins)
        return result

    return convert


def _note(result: Any, origin: Origin, origins: Origins) -> None:
    if isinstance(result, list | tuple):
        for part in result:
            _note(part, origin, origins)
    else:
        origins.note(result, origin)


def _operator(node: fx.Node) -> Operator:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = kind if isinstance(kind, str) else kind.__qualname__
    if "from_metadata_hook" in path:  # torch's name for the size of an input, which belongs to no module
        path, kind = "", ""
    return Operator(name=node.name, target=str(node.target), module=module_path(path), kind=kind.rpartition(".")[2])
