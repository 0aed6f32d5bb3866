#include <harness/object_pool.h>

#include <cstdint>
#include <cstdlib>
#include <new>

namespace harness {
namespace object_pool {
namespace {

constexpr std::size_t kStep = 64;
constexpr std::size_t kClasses = 16;
// More freed blocks of one size than this go back to the C library.
constexpr std::uint32_t kKept = 256;
constexpr std::uint32_t kUnpooled = kClasses;

// Stands before each block's data, and keeps the data aligned.
struct alignas(std::max_align_t) Header {
  std::uint32_t size_class;
  // From the start of the allocation to the data.
  std::uint32_t offset;
};

// What a free block's data holds.
struct Link {
  Link* next;
};

Header* HeaderOf(void* data) { return static_cast<Header*>(data) - 1; }

void Release(void* data) noexcept {
  std::free(static_cast<char*>(data) - HeaderOf(data)->offset);
}

// Without a constructor or destructor: usable from a thread's first to its last moment.
struct Pool {
  Link* free[kClasses];
  std::uint32_t kept[kClasses];
  bool closed;
};

thread_local Pool pool;

// Gives the blocks back when the thread ends; what is freed even later is not kept.
struct Closer {
  bool armed = false;
  ~Closer() {
    pool.closed = true;
    for (Link*& head : pool.free) {
      while (head != nullptr) {
        Link* next = head->next;
        Release(head);
        head = next;
      }
    }
  }
};

thread_local Closer closer;

void* Fresh(std::size_t size, std::size_t alignment, std::uint32_t size_class) {
  std::size_t offset = alignment > sizeof(Header) ? alignment : sizeof(Header);
  void* start = nullptr;
  if (alignment <= alignof(std::max_align_t)) {
    start = std::malloc(offset + size);
  } else if (posix_memalign(&start, alignment, offset + size) != 0) {
    start = nullptr;
  }
  if (start == nullptr) throw std::bad_alloc();
  void* data = static_cast<char*>(start) + offset;
  *HeaderOf(data) = Header{size_class, static_cast<std::uint32_t>(offset)};
  return data;
}

}  // namespace

void* Allocate(std::size_t size, std::size_t alignment) {
  if (size == 0) size = 1;
  std::size_t size_class = (size - 1) / kStep;
  if (size_class >= kClasses || alignment > alignof(std::max_align_t)) {
    return Fresh(size, alignment, kUnpooled);
  }
  Link*& head = pool.free[size_class];
  if (head == nullptr) {
    std::size_t rounded = (size_class + 1) * kStep;
    return Fresh(rounded, alignment, static_cast<std::uint32_t>(size_class));
  }
  void* data = head;
  head = head->next;
  --pool.kept[size_class];
  return data;
}

void Free(void* data) noexcept {
  if (data == nullptr) return;
  std::uint32_t size_class = HeaderOf(data)->size_class;
  if (size_class == kUnpooled || pool.closed || pool.kept[size_class] == kKept) {
    Release(data);
    return;
  }
  closer.armed = true;
  pool.free[size_class] = new (data) Link{pool.free[size_class]};
  ++pool.kept[size_class];
}

}  // namespace object_pool
}  // namespace harness
