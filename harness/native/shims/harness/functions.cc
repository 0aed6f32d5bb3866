// The global functions that Rust calls by name, out of those that TVM registers for Python (see runtime.py).
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

namespace {

using tvm::ffi::Any;
using tvm::ffi::ArrayObj;
using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::Optional;
using tvm::ffi::String;

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("ffi.ArrayGetItem", [](const ArrayObj* array, int64_t at) -> Any { return array->at(at); })
      .def("ffi.ArraySize", [](const ArrayObj* array) { return static_cast<int64_t>(array->size()); })
      .def("ffi.ModuleLoadFromFile", &Module::LoadFromFile)
      .def("ffi.ModuleGetFunction", [](const Module& module, const String& name, bool in_imports) -> Optional<Function> {
        return module->GetFunction(name, in_imports);
      });
}

}  // namespace
