// Stand-in: the byte stream that the runtime's loaders read from and write to.
#ifndef HARNESS_SHIMS_TVM_SUPPORT_IO_H_
#define HARNESS_SHIMS_TVM_SUPPORT_IO_H_

#include <cstddef>
#include <cstdint>

namespace tvm {
namespace support {

class Stream {
 public:
  virtual ~Stream() = default;
  // Returns the bytes read, fewer than `size` only at the end.
  virtual size_t Read(void* data, size_t size) = 0;
  virtual size_t Write(const void* data, size_t size) = 0;

  // Typed access is defined in serializer.h.
  template <typename T>
  bool Read(T* value);
  template <typename T>
  void Write(const T& value);
  template <typename T>
  bool ReadArray(T* values, size_t count);
  template <typename T>
  void WriteArray(const T* values, size_t count);
};

}  // namespace support
}  // namespace tvm
#endif  // HARNESS_SHIMS_TVM_SUPPORT_IO_H_
