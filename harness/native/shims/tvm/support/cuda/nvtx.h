// Stand-in: profiling ranges exist only with CUDA.
#ifndef HARNESS_SHIMS_TVM_SUPPORT_CUDA_NVTX_H_
#define HARNESS_SHIMS_TVM_SUPPORT_CUDA_NVTX_H_

#include <string>

namespace tvm {
namespace support {

struct NVTXScopedRange {
  explicit NVTXScopedRange(const char*) {}
  explicit NVTXScopedRange(const std::string&) {}
};

}  // namespace support
}  // namespace tvm
#endif  // HARNESS_SHIMS_TVM_SUPPORT_CUDA_NVTX_H_
