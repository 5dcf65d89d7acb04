// Definitions shared by the forward and the backward pass of a layer: sizes, panels, memory layout.
//
// Units are split into panels of one vector each: panel j holds units j V .. j V + V - 1, with V =
// kWidth<T>; the last panel is padded with zeros. All data of a tile is stored by panels:
//
//   weights    [panels][k][4][V]       the four gates of V units next to each other
//   gates      [panels][places][4][V]  reserve: activated gates, or the inputs of activations other
//                                      than tanh and sigmoid; then their gradients
//   states     [panels][places][V]     reserve: h_{t-1} and c_{t-1} of each place
//   running    [panels][rows][V]       h and c of the current step
//
// Each tile therefore reads its left and right factors and writes its result contiguously.

#ifndef GATEWISE_LAYER_H_
#define GATEWISE_LAYER_H_

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <vector>

#include "gates.h"
#include "kernels.h"
#include "matmul.h"

namespace gatewise::GATEWISE_ISA {

// Allocates pieces of one block of memory; without a block it only counts the required size.
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

// The register that says what becomes of denormal numbers; with the bits kFlush they count as zero.
#if defined(__SSE2__)
constexpr uint64_t kFlush = 0x8040;
inline uint64_t float_control() { return _mm_getcsr(); }
inline void set_float_control(uint64_t bits) { _mm_setcsr(static_cast<unsigned>(bits)); }
#elif defined(__aarch64__)
constexpr uint64_t kFlush = 1 << 24;
inline uint64_t float_control() {
  uint64_t bits;
  asm volatile("mrs %0, fpcr" : "=r"(bits)::"memory");
  return bits;
}
inline void set_float_control(uint64_t bits) {
  asm volatile("msr fpcr, %0" ::"r"(bits) : "memory");
}
#else  // unknown here, so denormal numbers remain
constexpr uint64_t kFlush = 0;
inline uint64_t float_control() { return 0; }
inline void set_float_control(uint64_t) {}
#endif

// Treats denormal numbers as zero, like XLA, during the lifetime of this object.
class FlushDenormals {
 public:
  FlushDenormals() : before_(float_control()) { set_float_control(before_ | kFlush); }
  ~FlushDenormals() { set_float_control(before_); }

 private:
  uint64_t before_;
};

template <class T>
struct Sizes {
  static constexpr int64_t V = kWidth<T>;
  int64_t batch, steps, features, units;
  int64_t panels, feature_panels;
  // Odd, so that the same place of different panels does not map to the same cache lines.
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

// The reserve of a layer; see gatewise_reserve_size().
template <class T>
struct Reserve {
  T *gates, *hidden, *cell;

  Reserve(void* memory, const Sizes<T>& n)
      : gates(static_cast<T*>(memory)),
        hidden(gates + n.panels * n.places * 4 * n.V),
        cell(hidden + n.panels * n.places * n.V) {}
};

// The operands of a left factor are stored in panels, too: [operand panels][rows][V]. A panel of V
// operands holds kTerms panels of terms.
template <class S>
int64_t operand_panels(int64_t terms) {
  return (operands<S>(terms) + kWidth<S> - 1) / kWidth<S>;
}
// The place in it of one panel of terms of one row.
template <class S>
int64_t panel_of_operands(int64_t panel, int64_t row, int64_t rows) {
  return (panel / kTerms<S> * rows + row) * kWidth<S> + panel % kTerms<S> * (kWidth<S> / kTerms<S>);
}

// Stores a panel of terms of one row of a left factor with this many rows. On tiles, the higher
// pairs of 16 split operands come before the lower ones.
template <class S>
GATEWISE_INLINE void store_panel(S* left, int64_t panel, int64_t row, int64_t rows,
                                 Vector<Sum<S>> x) {
  if constexpr (kTiles) {
    S* const operands = left + (panel / kTerms<S> * rows + row) * kWidth<S>;
    Pair* const to =
        reinterpret_cast<Pair*>(operands) + panel % kTerms<S> * (kWidth<S> / kTerms<S>);
    store_neighbours(to, x);
    if constexpr (std::is_same_v<S, SplitPair>) store_neighbours(to + kWidth<S>, remainder(x));
  } else {
    store_terms<S>(left + panel_of_operands<S>(panel, row, rows), x);
  }
}

// The operands of a right factor for this many terms; tiles want whole panels.
template <class S>
int64_t right_operands(int64_t terms) {
  return kTiles ? operand_panels<S>(terms) * kWidth<S> : operands<S>(terms);
}

// Where vector n of four, at one of `count` operands, stands in a right factor: [operands][4][V],
// or, on tiles, [4][operands][V].
template <class S>
int64_t place_of_right(int64_t operand, int64_t n, int64_t count) {
  return (kTiles ? n * count + operand : operand * 4 + n) * kWidth<S>;
}

// Packs one panel of units of weights [rows, 4H] into a right factor of the four gates.
template <class S, class T>
void pack_gates(S* to, const T* weights, int64_t rows, int64_t panel, const Sizes<T>& n) {
  const int columns = n.columns(panel);
  const int64_t count = right_operands<S>(rows);
  for (int64_t k = 0; k < count; ++k) {
    const int64_t term = k * kTerms<S>;
    for (int64_t g = 0; g < 4; ++g) {
      const T* from = weights + g * n.units + panel * n.V;
      const auto row = [&](int64_t m) { return load_some(from + m * 4 * n.units, columns); };
      const Vector<S> operand = term < rows ? take_terms<S>(term, rows, row) : Vector<S>{};
      store<S>(to + place_of_right<S>(k, g, count), operand);
    }
  }
}

// The tasks of several passes as one sequence: count_tasks counts them, do_task runs the n-th.
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

// The rows of the largest lane; odd, like Sizes::places, or what fills tiles.
inline int64_t most_rows(const std::vector<Lane>& lanes) {
  int64_t most = 0;
  for (const Lane& lane : lanes) most = std::max(most, lane.rows);
  return kTiles ? (most + 15) / 16 * 16 : most | 1;
}

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_LAYER_H_
