// What the forward and the backward pass of a layer share: sizes, panels, and where things lie.
//
// Units are dealt into panels of one vector each: panel j holds units j V .. j V + V - 1, V =
// kWidth<T>, the last one filled up with zeros. Everything a tile touches is stored by panels:
//
//   weights    [panels][k][4][V]       the four gates of V units side by side
//   gates      [panels][places][4][V]  reserve: activated gates, or where the activations are not
//                                      the usual ones what goes into them; then their gradients
//   states     [panels][places][V]     reserve: h_{t-1} and c_{t-1} of each place
//   running    [panels][rows][V]       h and c of the step at hand
//
// so that one tile's left factor, right factor and result are each read or written in a row.

#ifndef GATEWISE_LAYER_H_
#define GATEWISE_LAYER_H_

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>

#include "gates.h"
#include "kernels.h"
#include "matmul.h"

namespace gatewise::GATEWISE_ISA {

// Hands out pieces of one block of memory; without a block it counts how large it must be.
class Arena {
 public:
  explicit Arena(void* block = nullptr) : block_(static_cast<char*>(block)) {}

  template <class T>
  T* take(int64_t count) {
    const size_t at = (used_ + 63) / 64 * 64;
    used_ = at + static_cast<size_t>(count) * sizeof(T);
    return block_ ? reinterpret_cast<T*>(block_ + at) : nullptr;
  }
  size_t used() const { return used_ + 64; }

 private:
  char* block_;
  size_t used_ = 0;
};

// Numbers below the normal range are taken as zero, as XLA does, for the life of this object.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

template <class T>
struct Sizes {
  static constexpr int64_t V = kWidth<T>;
  int64_t batch, steps, features, units;
  int64_t panels, feature_panels;
  // Odd, so that the same place of different panels does not fall on the same lines of a cache.
  int64_t places;

  explicit Sizes(const gatewise_lstm& layer)
      : batch(layer.batch),
        steps(layer.steps),
        features(layer.features),
        units(layer.units),
        panels((layer.units + V - 1) / V),
        feature_panels((layer.features + V - 1) / V),
        places((layer.batch * layer.steps) | 1) {}

  int columns(int64_t panel) const { return static_cast<int>(std::min(V, units - panel * V)); }
  int feature_columns(int64_t panel) const {
    return static_cast<int>(std::min(V, features - panel * V));
  }
};

// The reserve of a layer, see gatewise_reserve_size().
template <class T>
struct Reserve {
  T *gates, *hidden, *cell;

  Reserve(void* memory, const Sizes<T>& n)
      : gates(static_cast<T*>(memory)),
        hidden(gates + n.panels * n.places * 4 * n.V),
        cell(hidden + n.panels * n.places * n.V) {}
};

// to[k][4][V] of one panel of units from weights [rows, 4H].
template <class T>
void pack_gates(T* to, const T* weights, int64_t rows, int64_t panel, const Sizes<T>& n) {
  const int columns = n.columns(panel);
  for (int64_t k = 0; k < rows; ++k) {
    for (int64_t g = 0; g < 4; ++g, to += n.V) {
      store(to, load_some(weights + (4 * k + g) * n.units + panel * n.V, columns));
    }
  }
}

// The tasks of several passes as one line of them: how many, and the n-th.
template <class Passes, class Count>
int64_t count_tasks(const Passes& passes, Count count) {
  int64_t sum = 0;
  for (const auto& pass : passes) sum += count(pass);
  return sum;
}
template <class Passes, class Count, class Act>
void do_task(Passes& passes, int64_t n, Count count, Act act) {
  for (auto& pass : passes) {
    if (n < count(pass)) return act(pass, n);
    n -= count(pass);
  }
}

// The number of this thread's rows at a step: of sorted rows lane, lane + lanes, ...
inline int64_t rows_of_lane(int64_t rows, int lane, int lanes) {
  return rows > lane ? (rows - lane + lanes - 1) / lanes : 0;
}

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_LAYER_H_
