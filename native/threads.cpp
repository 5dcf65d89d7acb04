#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace gatewise {
namespace {

// How often a thread polls for work before it sleeps: some tens of microseconds, longer than the
// gap between the passes of two layers and much shorter than a training step.
constexpr int kLooks = 4000;
// How often a thread polls for another one within a call before it yields.
constexpr int kPatience = 2000;

void look_again() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

template <class Ready>
void wait_for(Ready ready) {
  for (int look = 0; !ready(); ++look) {
    if (look < kPatience) {
      look_again();
    } else {
      std::this_thread::yield();
    }
  }
}

int cores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
  const unsigned known = std::thread::hardware_concurrency();
  return known > 0 ? static_cast<int>(known) : 1;
}

int threads_at_first() {
  // OMP_NUM_THREADS may be a list with one number per nesting level; the first one applies.
  const char* asked = std::getenv("OMP_NUM_THREADS");
  char* end = nullptr;
  const long count = asked ? std::strtol(asked, &end, 10) : 0;
  const bool is_number = end != asked && (!end || !*end || *end == ',' || *end == ' ');
  return is_number && 0 < count && count <= kMostThreads ? static_cast<int>(count) : cores();
}

std::atomic<int> threads_asked{0};  // 0: not asked

class Pool {
 public:
  // Lends the pool with up to `wanted` - 1 workers. Returns the size of the team; 0: already lent.
  int lend(int wanted) {
    if (!lent_.try_lock()) return 0;
    while (static_cast<int>(workers_) < wanted - 1 && start_worker()) {
    }
    return static_cast<int>(workers_) < wanted - 1 ? static_cast<int>(workers_) + 1 : wanted;
  }
  void give_back() { lent_.unlock(); }

  void run(int members, const std::function<void(int)>& work) {
    work_ = &work;
    left_.store(0, std::memory_order_relaxed);
    {
      // A worker holds the lock until it sleeps, so none misses the call.
      const std::lock_guard<std::mutex> guard(sleep_);
      const uint64_t number = call_.load(std::memory_order_relaxed) / kCall + 1;
      call_.store(number * kCall + static_cast<uint64_t>(members) * kMembers,
                  std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    // From here on no worker joins, because the call wants no members.
    uint64_t now = call_.load(std::memory_order_acquire);
    while (!call_.compare_exchange_weak(now, now / kCall * kCall + now % kMembers,
                                        std::memory_order_acq_rel)) {
    }
    const int joined = static_cast<int>(now % kMembers);
    wait_for([&] { return left_.load(std::memory_order_acquire) == joined; });
  }

  void* scratch(size_t bytes) {
    if (bytes > scratch_bytes_) {
      std::free(scratch_);
      scratch_bytes_ = 0;
      scratch_ = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
      if (scratch_) scratch_bytes_ = bytes;
    }
    return scratch_;
  }

 private:
  bool start_worker() {
    const int member = static_cast<int>(workers_) + 1;
    const uint64_t seen = call_.load(std::memory_order_acquire) / kCall;
    try {
      std::thread([this, member, seen] { serve(member, seen); }).detach();
    } catch (...) {
      return false;  // the system has no more threads: the team is smaller
    }
    ++workers_;
    return true;
  }

  void serve(int member, uint64_t seen) {
    const auto number = [&] { return call_.load(std::memory_order_acquire) / kCall; };
    for (;;) {
      for (int look = 0; look < kLooks && number() == seen; ++look) look_again();
      if (number() == seen) {
        std::unique_lock<std::mutex> guard(sleep_);
        wake_.wait(guard, [&] { return number() != seen; });
      }
      uint64_t now = call_.load(std::memory_order_acquire);
      seen = now / kCall;
      bool joins = false;
      while (!joins && now / kCall == seen && member < static_cast<int>(now % kCall / kMembers)) {
        joins = call_.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel);
      }
      if (!joins) continue;  // too late, or the team is smaller than the pool
      (*work_)(member);
      left_.fetch_add(1, std::memory_order_release);
    }
  }

  std::mutex lent_;
  std::mutex sleep_;
  std::condition_variable wake_;
  // The current call in one word: its number, the members that it wants, and the workers that have
  // joined. A late worker therefore finds either a call that still wants it or none.
  static constexpr uint64_t kMembers = 1 << 16, kCall = kMembers << 16;
  std::atomic<uint64_t> call_{0};
  std::atomic<int> left_{0};  // workers that have joined and returned
  const std::function<void(int)>* work_ = nullptr;
  unsigned workers_ = 0;
  void* scratch_ = nullptr;
  size_t scratch_bytes_ = 0;
};

// Never destroyed, because its threads may outlive every destructor of the process. A forked child
// has none of these threads and creates its own pool.
std::atomic<Pool*> the_pool{nullptr};

Pool& pool() {
  static const int at_fork = pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });
  (void)at_fork;
  Pool* now = the_pool.load();
  if (!now) {
    Pool* fresh = new Pool;
    if (the_pool.compare_exchange_strong(now, fresh)) return *fresh;
    delete fresh;
  }
  return *now;
}

}  // namespace

int threads() {
  const int asked = threads_asked.load();
  static const int at_first = threads_at_first();
  return asked > 0 ? asked : at_first;
}

void set_threads(int count) { threads_asked.store(std::clamp(count, 0, kMostThreads)); }

Team::Team(int wanted) {
  const int size = pool().lend(wanted > 0 ? wanted : 1);
  lent_ = size > 0;
  size_ = lent_ ? size : 1;
}

Team::~Team() {
  std::free(own_);
  if (lent_) pool().give_back();
}

void Team::run(const std::function<void(int)>& work) {
  if (size_ == 1) return work(0);
  pool().run(size_, work);
}

void* Team::scratch(size_t bytes) {
  if (lent_) return pool().scratch(bytes);
  std::free(own_);
  own_ = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  return own_;
}

void Barrier::wait() {
  if (members_ == 1) return;
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == members_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  wait_for([&] { return round_.load(std::memory_order_acquire) != round; });
}

void Tasks::wait() const {
  wait_for([&] { return done_.load(std::memory_order_acquire) == count_; });
}

}  // namespace gatewise
