// Work over cores: one team of threads for the whole process, lent to one call at a time.

#ifndef GATEWISE_THREADS_H_
#define GATEWISE_THREADS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace gatewise {

// More than any machine has cores; a greater number is a slip, and would take all memory.
constexpr int kMostThreads = 1024;

int threads();
void set_threads(int count);

// The calling thread and up to `wanted` - 1 others. A call that finds the others lent out works
// alone, with the same result.
class Team {
 public:
  explicit Team(int wanted);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // work(member) for member 0, the caller, and for every other member that comes before the caller
  // has returned from it: on a busy machine that may be none. Returns when all that came have
  // returned. Work that cannot be done without a member waits for it by Barrier.
  void run(const std::function<void(int)>& work);
  // Memory that lives as long as the team, on a cache line's edge; nullptr when there is none left.
  void* scratch(size_t bytes);

 private:
  int size_ = 1;
  bool lent_ = false;    // this call holds the pool
  void* own_ = nullptr;  // scratch of a call that works without it
};

// A number of tasks that members take one by one; a member that finds none left waits until those
// of the others are done too. Nobody waits for a member that has not come.
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

// Where members wait for each other, all of them.
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
