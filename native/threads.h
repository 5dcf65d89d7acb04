// Multithreading: one pool of threads for the whole process, lent to one call at a time.

#ifndef GATEWISE_THREADS_H_
#define GATEWISE_THREADS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace gatewise {

// More cores than any machine has; a larger number is a mistake and would exhaust the memory.
constexpr int kMostThreads = 1024;

int threads();
void set_threads(int count);

// The calling thread and up to `wanted` - 1 others. If the pool is lent to another call, the caller
// works alone, with the same result.
class Team {
 public:
  explicit Team(int wanted);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // Calls work(member) for member 0, the caller, and for every other member that joins before the
  // caller's work returns; on a busy machine that may be none. Returns when all joined members have
  // returned. Work that needs every member waits for them with a Barrier.
  void run(const std::function<void(int)>& work);
  // Memory with the lifetime of the team, aligned to a cache line; nullptr if out of memory.
  void* scratch(size_t bytes);

 private:
  int size_ = 1;
  bool lent_ = false;    // this call has the pool
  void* own_ = nullptr;  // scratch of a call without the pool
};

// A number of tasks that members take one by one. A member that finds no task left waits until the
// others have finished theirs. No member waits for one that has not joined.
class Tasks {
 public:
  explicit Tasks(int64_t count) : count_(count) {}

  template <class Task>
  void share(Task task) {
    for (int64_t n = next_.fetch_add(1); n < count_; n = next_.fetch_add(1)) {
      task(n);
      done_.fetch_add(1, std::memory_order_release);
    }
    wait();
  }

 private:
  void wait() const;

  const int64_t count_;
  std::atomic<int64_t> next_{0}, done_{0};
};

// All members wait here until every one has arrived.
class Barrier {
 public:
  explicit Barrier(int members) : members_(members) {}
  void wait();

 private:
  const int members_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
};

}  // namespace gatewise

#endif  // GATEWISE_THREADS_H_
