// What compiled kernels call for a loop whose rounds are independent, in place of TVM's own pool: that one has a pool
// for each thread that calls it, loses errors where there is one thread, and reads its size from the environment.
#include <harness/thread_pool.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/runtime/base.h>
#include <tvm/runtime/c_backend_api.h>

#include <exception>
#include <mutex>
#include <optional>
#include <utility>

namespace {

using tvm::ffi::Error;

// Runs a task; returns its error, if it has one.
std::optional<Error> Run(FTVMParallelLambda body, int task, TVMParallelGroupEnv* environment, void* closure) {
  try {
    if (body(task, environment, closure) == 0) return std::nullopt;
    // The error lies in memory of this thread's own.
    return tvm::ffi::details::MoveFromSafeCallRaised();
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Error("InternalError", error.what(), "");
  } catch (...) {
    return Error("InternalError", "an unknown exception in a kernel", "");
  }
}

int StatusOf(const std::optional<Error>& error) {
  if (!error.has_value()) return 0;
  tvm::ffi::details::SetSafeCallRaised(*error);
  return -1;
}

struct Launch {
  FTVMParallelLambda body;
  void* closure;
  TVMParallelGroupEnv environment;
  std::mutex mutex;
  // The first error; the others are dropped.
  std::optional<Error> error;

  static void RunTask(int task, void* data) {
    auto* launch = static_cast<Launch*>(data);
    std::optional<Error> found = Run(launch->body, task, &launch->environment, launch->closure);
    if (!found.has_value()) return;
    std::lock_guard<std::mutex> lock(launch->mutex);
    if (!launch->error.has_value()) launch->error = std::move(found);
  }
};

TVM_FFI_STATIC_INIT_BLOCK() {
  namespace refl = tvm::ffi::reflection;
  refl::GlobalDef()
      .def("harness.set_threads",
           [](int64_t count) {
             constexpr int64_t kMost = harness::thread_pool::kMostThreads;
             if (count < 1 || count > kMost || !harness::thread_pool::SetCount(static_cast<int>(count))) {
               TVM_FFI_THROW(ValueError) << count << " threads: there are from 1 to " << kMost;
             }
           })
      .def("harness.threads", []() -> int64_t { return harness::thread_pool::Count(); })
      .def("harness.threads_started", []() -> int64_t { return harness::thread_pool::Started(); });
}

}  // namespace

int TVMBackendParallelLaunch(FTVMParallelLambda body, void* closure, int tasks) {
  namespace pool = harness::thread_pool;
  if (pool::Count() == 1 && tasks <= 1) {
    TVMParallelGroupEnv environment{nullptr, 1};
    return StatusOf(Run(body, 0, &environment, closure));
  }
  pool::Lease lease(reinterpret_cast<const void*>(body));
  if (tasks <= 0) tasks = lease.tasks();
  Launch launch{body, closure, TVMParallelGroupEnv{nullptr, tasks}, {}, {}};
  lease.Run(tasks, Launch::RunTask, &launch);
  return StatusOf(launch.error);
}

int TVMBackendParallelBarrier(int, TVMParallelGroupEnv*) {
  // Tasks wait for nothing, so that there may be more of them than threads. Our kernels have no barriers.
  TVMFFIErrorSetRaisedFromCStr("InternalError", "kernels with barriers between threads are not supported");
  return -1;
}
