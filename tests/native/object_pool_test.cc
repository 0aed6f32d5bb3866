// The pool under a sanitizer: what is freed comes back, in whatever thread, and threads leave nothing behind.
#include <harness/object_pool.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

using harness::object_pool::Allocate;
using harness::object_pool::Free;
using harness::object_pool::Vector;

#define CHECK(truth) \
  if (!(truth)) {    \
    std::printf("line %d: %s\n", __LINE__, #truth); \
    std::exit(1);    \
  }

// Frees something when the thread's other variables are gone.
struct Late {
  void* data = nullptr;
  ~Late() { Free(data); }
};
thread_local Late late;

int main() {
  Free(nullptr);
  for (std::size_t size : {0, 1, 63, 64, 65, 1000, 1024, 1025, 100000}) {
    for (std::size_t alignment : {1, 8, 16, 64, 4096}) {
      void* data = Allocate(size, alignment);
      CHECK(reinterpret_cast<std::uintptr_t>(data) % alignment == 0);
      std::memset(data, 0xff, size);
      Free(data);
    }
  }
  void* first = Allocate(100, 8);
  Free(first);
  CHECK(Allocate(128, 16) == first);
  Free(first);

  std::vector<void*> many;
  for (int i = 0; i < 1000; ++i) many.push_back(Allocate(48, 8));
  std::thread other([&many] {
    late.data = Allocate(48, 8);
    for (void* data : many) Free(data);
    Free(Allocate(48, 8));
  });
  other.join();

  Vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < 10000; ++i) numbers.push_back(i);
  CHECK(numbers.front() == 0 && numbers.back() == 9999);
  std::puts("ok");
}
