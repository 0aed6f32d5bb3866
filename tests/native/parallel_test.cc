// Errors in tasks of kernels, as compiled kernels report them: what comes back to the caller of a parallel loop.
#include <harness/thread_pool.h>
#include <tvm/ffi/c_api.h>
#include <tvm/runtime/c_backend_api.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#define CHECK(truth) \
  if (!(truth)) {    \
    std::printf("line %d: %s\n", __LINE__, #truth); \
    std::exit(1);    \
  }

enum class Failing { kNone, kOne, kAll, kThrowing, kUnknown };

struct Closure {
  Failing failing;
  std::atomic<int> ended{0};
};

int Body(int task, TVMParallelGroupEnv* group, void* data) {
  auto* closure = static_cast<Closure*>(data);
  auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(2000 / group->num_task);
  while (std::chrono::steady_clock::now() < end) {
  }
  ++closure->ended;
  bool last = task == group->num_task - 1;
  if (last && closure->failing == Failing::kThrowing) throw std::runtime_error("thrown");
  if (last && closure->failing == Failing::kUnknown) throw 1;
  if (closure->failing == Failing::kAll || (last && closure->failing == Failing::kOne)) {
    TVMFFIErrorSetRaisedFromCStr("ValueError", "too far");
    return -1;
  }
  return 0;
}

// Runs a loop; returns its error's message, and in how many tasks it ran.
std::string Launched(Failing failing, int tasks, int* ran) {
  Closure closure{failing};
  int status = TVMBackendParallelLaunch(Body, &closure, tasks);
  *ran = closure.ended;
  TVMFFIObjectHandle error = nullptr;
  TVMFFIErrorMoveFromRaised(&error);
  CHECK((status == 0) == (error == nullptr));
  if (error == nullptr) return "";
  CHECK(status == -1);
  const TVMFFIByteArray& message = TVMFFIErrorGetCellPtr(error)->message;
  std::string text(message.data, message.size);
  TVMFFIObjectDecRef(error);
  return text;
}

int main() {
  int ran = 0;
  for (int threads : {1, 3, 1, 2}) {
    CHECK(harness::thread_pool::SetCount(threads));
    int used = std::min(threads, harness::thread_pool::Cores());
    // The first call measures. On a busy machine one thread may be faster; sharing is tried again now and then.
    int most = 0;
    for (int call = 0; call < 64 && most < (used == 1 ? 2 : harness::thread_pool::kTasks); ++call) {
      CHECK(Launched(Failing::kNone, 0, &ran).empty());
      most = std::max(most, ran);
    }
    CHECK(most == (used == 1 ? 1 : harness::thread_pool::kTasks));
    for (int tasks : {0, 7}) {
      CHECK(Launched(Failing::kOne, tasks, &ran) == "too far");
      CHECK(Launched(Failing::kAll, tasks, &ran) == "too far");
      CHECK(Launched(Failing::kThrowing, tasks, &ran) == "thrown");
      CHECK(Launched(Failing::kUnknown, tasks, &ran) == "an unknown exception in a kernel");
      CHECK(Launched(Failing::kNone, tasks, &ran).empty());
    }
    CHECK(ran == 7);
  }
  CHECK(TVMBackendParallelBarrier(0, nullptr) == -1);
  TVMFFIObjectHandle error = nullptr;
  TVMFFIErrorMoveFromRaised(&error);
  CHECK(error != nullptr);
  TVMFFIObjectDecRef(error);
  std::puts("ok");
}
