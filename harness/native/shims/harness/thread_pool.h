// The threads that kernels are computed on.
//
// One pool for the process. Its threads are started when the first kernel is large enough for them, and only if more
// than one was asked for. Each waits a moment for the next kernel in a loop, because the next one is usually only
// microseconds away, and then sleeps until it is woken. They are never joined: a process may end at any time, also
// while they sleep.
#ifndef HARNESS_THREAD_POOL_H_
#define HARNESS_THREAD_POOL_H_

namespace harness {
namespace thread_pool {

// More than this is refused; MAX_THREADS of harness/compiler/front.py is the same number.
constexpr int kMostThreads = 64;
// A shared kernel has so many tasks, as TASKS of harness/compiler/kernels/parallel.py: who is faster takes more of them.
constexpr int kTasks = 32;

// A part of a kernel. It must not throw.
using Task = void (*)(int task, void* data);

// Sets how many threads kernels use from now on, the calling one included, but never more than the process has cores.
// Any thread may call it at any time.
// Returns false if the count is not from 1 to kMostThreads.
bool SetCount(int count);

int Count();

// Cores that the process may use.
int Cores();

// Threads that were started so far, without the callers of Run.
int Started();

// The pool, for one kernel at a time. Without it the kernel belongs on the calling thread.
class Lease {
 public:
  // `kernel` is an address that stands for the kernel: its times decide whether it is worth several threads.
  explicit Lease(const void* kernel);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // In how many tasks the kernel should be cut; 1 if it should stay on this thread.
  int tasks() const { return tasks_; }

  // Runs task(0, data) to task(tasks - 1, data), in any order and on any of the threads; returns when all have ended.
  // With one task the calling thread runs it. Tasks may not hand on anything to each other.
  void Run(int tasks, Task task, void* data);

 private:
  const void* kernel_;
  int tasks_ = 1;
  bool held_ = false;
};

}  // namespace thread_pool
}  // namespace harness

#endif  // HARNESS_THREAD_POOL_H_
