#include <harness/thread_pool.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__) || defined(__ANDROID__)
#include <sched.h>
#endif

namespace harness {
namespace thread_pool {
namespace {

// A kernel that takes less on one thread is not tried on several: to hand it over takes 1 us, and a core reads slowly
// what another has written.
constexpr float kLeastNanoseconds = 4000.0f;
// Threads that sleep are 25 us late, so they are woken for more than this.
constexpr float kLeastToWake = 80000.0f;
// After so much work that was too little to wake threads for, they are woken for what comes next.
constexpr float kMostMissed = 200000.0f;
// The way that was slower is tried again after so many calls at first, and at last after so many.
constexpr int kFirstTrial = 2;
constexpr int kLastTrial = 1024;
// What sharing has to save to be worth a second core.
constexpr float kWorth = 0.95f;
// How long a thread looks for work before it sleeps: longer than the small kernels between two large ones take.
constexpr std::chrono::microseconds kLooking{200};
// How often it looks between two looks at the clock.
constexpr int kLooks = 64;
// How often the caller looks for the end of tasks before it lets others have its core.
constexpr int kLooksForEnd = 2000;
constexpr std::size_t kSites = 1024;
constexpr std::size_t kNeighbours = 16;

using Clock = std::chrono::steady_clock;

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ __volatile__("yield");
#endif
}

// A kernel, and how long it takes on one thread and on several; 0 if that is not known yet.
struct Site {
  const void* kernel = nullptr;
  float alone = 0.0f;
  float shared = 0.0f;
  int until_trial = kFirstTrial;
  int trial = kFirstTrial;
  // The number of threads beside the caller for which this is so.
  int workers = 0;

  // Forgets what sharing took if it was for another number of threads.
  void UseWorkers(int count) {
    if (workers == count) return;
    workers = count;
    shared = 0.0f;
    until_trial = trial = kFirstTrial;
  }

  // Whether to share the kernel this time: what was faster, and now and then the other.
  bool Shares() {
    if (alone < kLeastNanoseconds) return false;
    if (shared == 0.0f) return true;
    bool faster = shared < kWorth * alone;
    if (--until_trial > 0) return faster;
    until_trial = trial;
    trial = std::min(2 * trial, kLastTrial);
    return !faster;
  }
};

// Follows times, quickly to lower ones: what disturbs them makes them longer.
void Follow(float& known, float found) {
  known = known == 0.0f ? found : known + (std::min(found, 4.0f * known) - known) / (found < known ? 2.0f : 6.0f);
}

// The tasks of a thread in this round: the round's number in the upper half, how many nobody has taken in the lower one.
struct alignas(64) Range {
  std::atomic<std::uint64_t> left{0};
  int end = 0;
};

#if defined(__linux__) || defined(__ANDROID__)
long ReadNumber(const char* format, int cpu) {
  char path[96];
  std::snprintf(path, sizeof(path), format, cpu);
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return 0;
  long number = 0;
  if (std::fscanf(file, "%ld", &number) != 1) number = 0;
  std::fclose(file);
  return number;
}

// Keeps the calling thread on the fastest cores, in whole clusters, that there are for so many threads.
void StayOnFastCores(int threads) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  std::vector<std::pair<long, int>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    cores.emplace_back(ReadNumber("/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", cpu), cpu);
  }
  std::sort(cores.rbegin(), cores.rend());
  if (cores.empty() || cores.front().first == cores.back().first) return;
  cpu_set_t fast;
  CPU_ZERO(&fast);
  int chosen = 0;
  long last = 0;
  for (const auto& [frequency, cpu] : cores) {
    if (chosen >= threads && frequency != last) break;
    CPU_SET(cpu, &fast);
    ++chosen;
    last = frequency;
  }
  sched_setaffinity(0, sizeof(fast), &fast);
}

int UsableCores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  return std::max(1, CPU_COUNT(&allowed));
}
#else
void StayOnFastCores(int) {}

int UsableCores() { return std::max(1u, std::thread::hardware_concurrency()); }
#endif

thread_local bool is_worker = false;

class Pool {
 public:
  // It is never destroyed, because its threads may outlive everything else.
  static Pool& The() {
    static Pool* pool = new Pool;
    return *pool;
  }

  bool SetCount(int count) {
    if (count < 1 || count > kMostThreads) return false;
    count_.store(count, std::memory_order_relaxed);
    // Threads without a core of their own would only take it from the others.
    workers_.store(std::min(count, UsableCores()) - 1, std::memory_order_relaxed);
    return true;
  }

  int Count() const { return count_.load(std::memory_order_relaxed); }
  int Started() const { return started_.load(std::memory_order_relaxed); }
  int Workers() const { return workers_.load(std::memory_order_relaxed); }

  // Takes the pool, unless another thread has it or the kernel is too small for it.
  bool Take(const void* kernel, int* tasks) {
    if (is_worker || !launching_.try_lock()) return false;
    Site& site = SiteOf(kernel);
    if (site.kernel != kernel) site = Site{kernel};
    int wanted = Workers();
    site.UseWorkers(wanted);
    if (wanted == 0 || site.alone < kLeastNanoseconds) return true;
    asleep_ = Started() < wanted || sleeping_.load(std::memory_order_relaxed) > Started() - wanted;
    if (asleep_ && site.alone < kLeastToWake) {
      missed_ += site.alone;
      if (missed_ < kMostMissed) return true;
      Grow(wanted);
      nudges_.fetch_add(1, std::memory_order_seq_cst);
      Wake();
      return true;
    }
    missed_ = 0.0f;
    Grow(wanted);
    int threads = 1 + std::min(Started(), wanted);
    if (threads > 1 && site.Shares()) *tasks = kTasks;
    return true;
  }

  void Give() { launching_.unlock(); }

  // Only the thread that has the pool may call it.
  void Run(const void* kernel, int tasks, Task task, void* data) {
    Clock::time_point start = Clock::now();
    if (tasks > 1) {
      Share(tasks, task, data, std::min(1 + std::min(Started(), Workers()), tasks));
    } else {
      task(0, data);
    }
    Site& site = SiteOf(kernel);
    if (site.kernel != kernel || (tasks > 1 && asleep_)) return;
    auto took = static_cast<float>(std::chrono::nanoseconds(Clock::now() - start).count());
    Follow(tasks > 1 ? site.shared : site.alone, took);
  }

 private:
  // Finds a kernel's place, or one for it: another kernel's if there are too many near it.
  Site& SiteOf(const void* kernel) {
    auto bits = reinterpret_cast<std::uintptr_t>(kernel);
    std::size_t first = bits >> 4 ^ bits >> 14;
    for (std::size_t at = 0; at < kNeighbours; ++at) {
      Site& site = sites_[(first + at) % kSites];
      if (site.kernel == kernel || site.kernel == nullptr) return site;
    }
    return sites_[first % kSites];
  }

  void Share(int tasks, Task task, void* data, int threads) {
    task_ = task;
    data_ = data;
    pending_.store(tasks, std::memory_order_relaxed);
    sharing_.store(threads, std::memory_order_relaxed);
    // Who takes a task of this round finds all of the above; a late thread of an older round finds no task of it.
    ++round_;
    for (int thread = 0; thread < threads; ++thread) {
      Range& range = ranges_[thread];
      range.end = tasks * (thread + 1) / threads;
      auto count = static_cast<std::uint32_t>(range.end - tasks * thread / threads);
      range.left.store(static_cast<std::uint64_t>(round_) << 32 | count, std::memory_order_seq_cst);
    }
    Wake();
    RunAll(0, threads);
    for (int looks = 0; pending_.load(std::memory_order_acquire) != 0; ++looks) {
      if (looks < kLooksForEnd) {
        Pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  // Runs the tasks of a thread, and then those that the others have not begun. A thread has the same part of each
  // kernel, so that much of what it reads is in its own caches.
  void RunAll(int thread, int threads) {
    int ended = 0;
    for (int at = 0; at < threads; ++at) {
      Range& range = ranges_[(thread + at) % threads];
      while (Claim(range)) ++ended;
    }
    if (ended > 0) pending_.fetch_sub(ended, std::memory_order_release);
  }

  // Runs a task that nobody has taken; false if there is none.
  bool Claim(Range& range) {
    std::uint64_t left = range.left.load(std::memory_order_acquire);
    do {
      if (static_cast<std::uint32_t>(left) == 0) return false;
    } while (!range.left.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel));
    // The round cannot end before this task is counted, so that what belongs to it stays.
    task_(range.end - static_cast<int>(static_cast<std::uint32_t>(left)), data_);
    return true;
  }

  void Wake() {
    if (sleeping_.load(std::memory_order_seq_cst) == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    woken_.notify_all();
  }

  bool HasWork(int worker) const {
    return static_cast<std::uint32_t>(ranges_[worker + 1].left.load(std::memory_order_seq_cst)) != 0;
  }

  void Look(int worker) const {
    Clock::time_point end = Clock::now() + kLooking;
    do {
      for (int looks = 0; looks < kLooks; ++looks) {
        if (HasWork(worker)) return;
        Pause();
      }
    } while (Clock::now() < end);
  }

  void Work(int worker) {
    is_worker = true;
    for (;;) {
      if (worker < Workers()) Look(worker);
      if (!HasWork(worker)) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        unsigned nudges = nudges_.load(std::memory_order_relaxed);
        woken_.wait(lock, [this, worker, nudges] {
          return HasWork(worker) || nudges_.load(std::memory_order_seq_cst) != nudges;
        });
        sleeping_.fetch_sub(1, std::memory_order_relaxed);
      }
      RunAll(worker + 1, sharing_.load(std::memory_order_relaxed));
    }
  }

  // Starts threads until there are so many, or the system refuses one.
  void Grow(int wanted) {
    while (Started() < wanted && !refused_) {
      int worker = Started();
      try {
        std::thread([this, worker, wanted] {
          StayOnFastCores(wanted + 1);
          Work(worker);
        }).detach();
        started_.fetch_add(1, std::memory_order_relaxed);
      } catch (const std::system_error&) {
        refused_ = true;
      }
    }
  }

  std::mutex launching_;
  Site sites_[kSites];
  bool refused_ = false;
  float missed_ = 0.0f;
  // Whether threads slept when the pool was last taken.
  bool asleep_ = false;

  Range ranges_[kMostThreads];
  std::uint32_t round_ = 0;
  alignas(64) std::atomic<int> pending_{0};
  alignas(64) std::atomic<int> sharing_{1};
  Task task_ = nullptr;
  void* data_ = nullptr;

  alignas(64) std::mutex mutex_;
  std::condition_variable woken_;
  std::atomic<int> sleeping_{0};
  std::atomic<unsigned> nudges_{0};
  std::atomic<int> count_{1};
  std::atomic<int> started_{0};
  std::atomic<int> workers_{0};
};

}  // namespace

bool SetCount(int count) { return Pool::The().SetCount(count); }

int Count() { return Pool::The().Count(); }

int Cores() { return UsableCores(); }

int Started() { return Pool::The().Started(); }

Lease::Lease(const void* kernel) : kernel_(kernel) {
  Pool& pool = Pool::The();
  if (pool.Count() > 1) held_ = pool.Take(kernel, &tasks_);
}

Lease::~Lease() {
  if (held_) Pool::The().Give();
}

void Lease::Run(int tasks, Task task, void* data) {
  if (held_) {
    Pool::The().Run(kernel_, tasks, task, data);
    return;
  }
  for (int at = 0; at < tasks; ++at) task(at, data);
}

}  // namespace thread_pool
}  // namespace harness
