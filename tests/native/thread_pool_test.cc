// The pool of threads under a sanitizer: every task runs once, whatever the count, and its writes are seen afterwards.
#include <harness/thread_pool.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

using harness::thread_pool::Count;
using harness::thread_pool::kMostThreads;
using harness::thread_pool::Lease;
using harness::thread_pool::SetCount;
using harness::thread_pool::Started;

#define CHECK(truth) \
  if (!(truth)) {    \
    std::printf("line %d: %s\n", __LINE__, #truth); \
    std::exit(1);    \
  }

struct Work {
  int tasks;
  std::chrono::microseconds time;
  std::vector<int> runs = {};
  std::atomic<int> nested{0};
};

void Run(int task, void* data) {
  auto* work = static_cast<Work*>(data);
  auto end = std::chrono::steady_clock::now() + work->time;
  while (std::chrono::steady_clock::now() < end) {
  }
  ++work->runs[task];
  // A kernel inside a kernel stays on its thread.
  Lease inner(data);
  if (inner.tasks() != 1) ++work->nested;
}

// Runs a kernel; returns in how many tasks.
int Once(const void* kernel, std::chrono::microseconds time) {
  Lease lease(kernel);
  Work work{lease.tasks(), time / lease.tasks()};
  work.runs.resize(work.tasks);
  lease.Run(work.tasks, Run, &work);
  for (int runs : work.runs) CHECK(runs == 1);
  CHECK(work.nested == 0);
  return work.tasks;
}

int main() {
  using std::chrono::microseconds;
  static const int kernels[4] = {};
  const int cores = harness::thread_pool::Cores();
  CHECK(Count() == 1 && Started() == 0);
  CHECK(!SetCount(0) && !SetCount(-1) && !SetCount(kMostThreads + 1));
  CHECK(Once(&kernels[0], microseconds(500)) == 1 && Started() == 0);

  CHECK(SetCount(3) && Count() == 3);
  // Nothing is known about a kernel that has not run, and a small one stays where it is.
  CHECK(Once(&kernels[0], microseconds(2000)) == 1 && Started() == 0);
  CHECK((Once(&kernels[0], microseconds(2000)) > 1) == (cores > 1) && Started() == std::min(cores, 3) - 1);
  CHECK(Once(&kernels[1], microseconds(0)) == 1);
  int again = 0;
  for (int i = 0; i < 200; ++i) again += Once(&kernels[1], microseconds(0)) == 1;
  CHECK(again > 100);
  for (int i = 0; i < 200; ++i) CHECK(Once(&kernels[0], microseconds(100)) >= 1);

  // Kernels of several threads at once: one has the pool, the others do without.
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([caller] {
      for (int i = 0; i < 100; ++i) Once(&kernels[caller], microseconds(100));
    });
  }
  for (std::thread& caller : callers) caller.join();

  // More threads than cores, and fewer again.
  CHECK(SetCount(kMostThreads));
  for (int i = 0; i < 20; ++i) Once(&kernels[2], microseconds(2000));
  CHECK(Started() == std::min(cores, kMostThreads) - 1);
  CHECK(SetCount(2));
  for (int i = 0; i < 50; ++i) CHECK(Once(&kernels[2], microseconds(2000)) <= 32);
  CHECK(SetCount(1));
  CHECK(Once(&kernels[2], microseconds(2000)) == 1);
  std::puts("ok");
}
