// Memory of TVM's small objects, kept for the next of their size: a virtual machine makes and frees the same ones
// at every call, and a decoding step should not allocate (it is used by the patches in `harness/native/patches.py`).
#ifndef HARNESS_SHIMS_HARNESS_OBJECT_POOL_H_
#define HARNESS_SHIMS_HARNESS_OBJECT_POOL_H_

#include <cstddef>
#include <vector>

namespace harness {
namespace object_pool {

/*! \brief Uninitialized memory; throws std::bad_alloc. Any thread may free it. */
void* Allocate(std::size_t size, std::size_t alignment);
void Free(void* data) noexcept;

template <typename T>
struct Allocator {
  using value_type = T;

  Allocator() = default;
  template <typename U>
  Allocator(const Allocator<U>&) noexcept {}  // NOLINT(*)

  T* allocate(std::size_t count) {
    return static_cast<T*>(Allocate(count * sizeof(T), alignof(T)));
  }
  void deallocate(T* data, std::size_t) noexcept { Free(data); }

  template <typename U>
  bool operator==(const Allocator<U>&) const noexcept {
    return true;
  }
};

template <typename T>
using Vector = std::vector<T, Allocator<T>>;

}  // namespace object_pool
}  // namespace harness
#endif  // HARNESS_SHIMS_HARNESS_OBJECT_POOL_H_
