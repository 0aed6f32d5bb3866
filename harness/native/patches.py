"""Patch the sources of TVM's runtime: a call allocates nothing once it has run before, and Python's part is left out.

Each patch changes a passage that must be in its file exactly once. If another version of TVM has other sources, the
build ends instead of changing a part.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patch:
    """Describe one change; ``path`` is relative to the folder for the file's kind (see ``runtime.py``)."""

    path: str
    before: str
    after: str

    def apply(self, text: str) -> str:
        """Return the changed text; raises ValueError if the passage is not there exactly once."""
        if (found := text.count(self.before)) != 1:
            raise ValueError(f"{self.path} has {found} passages like {self.before.strip().splitlines()[0]!r}, not one")
        return text.replace(self.before, self.after)


MEMORY = "tvm/ffi/memory.h"
VM = "vm/vm.cc"
BUILTIN = "vm/builtin.cc"
EXECUTABLE = "vm/executable.cc"

HEADER_PATCHES = (
    # Objects come from the pool: a step's shapes, tuples, storages and tensors.
    Patch(MEMORY, "#include <type_traits>\n", "#include <harness/object_pool.h>\n#include <type_traits>\n"),
    Patch(
        MEMORY,
        """\
  if (align <= alignof(std::max_align_t)) {
    // malloc guarantees alignment of std::max_align_t
    if (void* ptr = std::malloc(size)) {
      return ptr;
    }
    throw std::bad_alloc();
  }
  void* ptr;
  // for other alignments, use posix_memalign
  if (posix_memalign(&ptr, align, size) != 0) {
    throw std::bad_alloc();
  }
  return ptr;
""",
        "  return ::harness::object_pool::Allocate(size, align);\n",
    ),
    Patch(MEMORY, "  std::free(data);\n", "  ::harness::object_pool::Free(data);\n"),
)

SOURCE_PATCHES = (
    # The arguments of a call are a view of the caller's, and are not copied into the registers.
    Patch(
        VM,
        "  std::vector<ffi::AnyView> packed_args(args.size() + 1);\n",
        "  ::harness::object_pool::Vector<ffi::AnyView> packed_args(args.size() + 1);\n",
    ),
    Patch(
        VM,
        """\
      std::vector<RegType> inputs(args.size() - 1);
      for (size_t i = 0; i < inputs.size(); ++i) {
        inputs[i] = args[i + 1];
      }
      *rv = static_cast<VirtualMachineImpl*>(ctx_ptr)->InvokeBytecode(gf_idx, inputs);
""",
        "      *rv = static_cast<VirtualMachineImpl*>(ctx_ptr)->InvokeBytecode(gf_idx, args.Slice(1));\n",
    ),
    Patch(
        VM,
        "  RegType InvokeBytecode(Index fidx, const std::vector<RegType>& args);\n",
        "  RegType InvokeBytecode(Index fidx, ffi::PackedArgs args);\n",
    ),
    Patch(
        VM,
        "RegType VirtualMachineImpl::InvokeBytecode(Index gf_idx, const std::vector<RegType>& args) {\n",
        "RegType VirtualMachineImpl::InvokeBytecode(Index gf_idx, ffi::PackedArgs args) {\n",
    ),
    # What only Python calls is no entry of the modules' tables: it would be in every app.
    Patch(
        VM,
        """\
  TVM_MODULE_VTABLE_ENTRY_PACKED("save_function", &VirtualMachineImpl::_SaveClosure);
  TVM_MODULE_VTABLE_ENTRY_PACKED("invoke_closure", &VirtualMachineImpl::_InvokeClosure);
  TVM_MODULE_VTABLE_ENTRY("invoke_stateful", &VirtualMachineImpl::_InvokeClosureStateful);
  TVM_MODULE_VTABLE_ENTRY_PACKED("set_instrument", &VirtualMachineImpl::_SetInstrument);
  TVM_MODULE_VTABLE_ENTRY_PACKED("get_output_arity", &VirtualMachineImpl::_GetOutputArity);
  TVM_MODULE_VTABLE_ENTRY_PACKED("get_output", &VirtualMachineImpl::_GetOutput);
  TVM_MODULE_VTABLE_ENTRY_PACKED("set_input", &VirtualMachineImpl::_SetInputWithoutParamModule);
  TVM_MODULE_VTABLE_ENTRY_PACKED("set_input_with_param_module",
                                 &VirtualMachineImpl::_SetInputWithParamModule);
  TVM_MODULE_VTABLE_ENTRY("get_function_arity", &VirtualMachineImpl::_GetFunctionArity);
  TVM_MODULE_VTABLE_ENTRY("get_function_param_name", &VirtualMachineImpl::_GetFunctionParamName);
""",
        "",
    ),
    Patch(
        EXECUTABLE,
        """\
  TVM_MODULE_VTABLE_ENTRY("stats", &VMExecutable::Stats);
  TVM_MODULE_VTABLE_ENTRY("as_text", &VMExecutable::AsText);
  TVM_MODULE_VTABLE_ENTRY("as_python", &VMExecutable::AsPython);
""",
        "",
    ),
    # The virtual machine does not keep its return value, so the memory is free for the next call.
    Patch(VM, "  RunLoop();\n  return return_value_;\n", "  RunLoop();\n  return std::move(return_value_);\n"),
    # This makes a name for a profiler that is not there.
    Patch(VM, '    support::NVTXScopedRange scope("RelaxVM: " + clo->func_name);\n', ""),
    Patch(
        BUILTIN,
        "  std::vector<int64_t> shape(size);\n",
        "  ::harness::object_pool::Vector<int64_t> shape(size);\n",
    ),
    Patch(
        BUILTIN,
        "  *rv = ffi::Shape(std::move(shape));\n",
        "  *rv = ffi::Shape(shape.begin(), shape.end());\n",
    ),
)
