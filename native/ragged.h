// The processing order of the steps of all rows. Masked steps leave the state unchanged, so they
// are skipped, whatever the pattern of the mask, and cost nothing.

#ifndef GATEWISE_RAGGED_H_
#define GATEWISE_RAGGED_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gatewise.h"

namespace gatewise {

// Rows are sorted by their number of unmasked steps, longest first (stable), so the rows that have
// a t-th step are the first rows_at(t). Place q = first[t] + s holds step t of sorted row s.
struct Ragged {
  int64_t longest = 0;          // steps of the longest row
  std::vector<int32_t> row;     // [B] sorted row s -> row of the batch
  std::vector<int32_t> length;  // [B] unmasked steps of sorted row s
  std::vector<int64_t> first;   // [longest + 1]
  std::vector<int64_t> source;  // [places] -> row of x as [B T, I]; `position` gives that of y

  explicit Ragged(const gatewise_lstm& layer);

  int64_t places() const { return first[static_cast<std::size_t>(longest)]; }
  int64_t rows_at(int64_t t) const {
    const auto n = static_cast<std::size_t>(t);
    return t < longest ? first[n + 1] - first[n] : 0;
  }
};

// Consecutive sorted rows, from row `from` on.
struct Lane {
  int64_t from, rows;

  // How many of the first `active` sorted rows belong to it.
  int64_t of(int64_t active) const { return std::clamp<int64_t>(active - from, 0, rows); }
};

// Divides the sorted rows into `count` lanes with about as many steps each. Lanes are consecutive,
// because each is the work of one thread: cache lines that two threads write in turn move between
// their caches all the time.
std::vector<Lane> divide(const Ragged& ragged, int count);

// Converts a step of the sequence to its position in the processing order, and vice versa.
inline int64_t position(const gatewise_lstm& layer, int64_t step) {
  return layer.go_backwards ? layer.steps - 1 - step : step;
}

inline bool masked(const gatewise_lstm& layer, int64_t row, int64_t step) {
  return layer.mask && !layer.mask[row * layer.steps + step];
}

}  // namespace gatewise

#endif  // GATEWISE_RAGGED_H_
