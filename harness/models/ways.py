"""List the ways to run a workload by the kind that orders and stored results name.

A stored result has the kind of a workload and not the workload itself. The class of its way answers what depends on the
kind, so nobody who reads results compares the kind's name.
"""

from __future__ import annotations

from typing import Any

from harness.models.generation import GenerationWorkload
from harness.models.language.workload import LanguageModel
from harness.models.tensors import TensorWorkload
from harness.models.workload import Workload
from harness.protocol.schema import Kind

WAYS: dict[Kind, type[Workload[Any]]] = {way.kind: way for way in (GenerationWorkload, TensorWorkload, LanguageModel)}
