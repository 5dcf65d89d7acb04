// Which steps of which rows are processed, and in which order: masked steps leave the state as it
// is, so that they are left out, whatever the mask's pattern, and cost nothing.

#ifndef GATEWISE_RAGGED_H_
#define GATEWISE_RAGGED_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gatewise.h"

namespace gatewise {

// Rows are sorted by their number of true steps, longest first (stable): the rows that have a t-th
// step are the first rows_at(t). Place q = first[t] + s holds step t of sorted row s.
struct Ragged {
  int64_t longest = 0;          // steps of the longest row
  std::vector<int32_t> row;     // [B] sorted row s -> row of the batch
  std::vector<int32_t> length;  // [B] of sorted row s
  std::vector<int64_t> first;   // [longest + 1]
  std::vector<int64_t> source;  // [places] -> row of x as [B T, I], and by `position` of y

  explicit Ragged(const gatewise_lstm& layer);

  int64_t places() const { return first[static_cast<std::size_t>(longest)]; }
  int64_t rows_at(int64_t t) const {
    const auto n = static_cast<std::size_t>(t);
    return t < longest ? first[n + 1] - first[n] : 0;
  }
};

// The position in the order of processing of a step of the sequence, and the other way round.
inline int64_t position(const gatewise_lstm& layer, int64_t step) {
  return layer.go_backwards ? layer.steps - 1 - step : step;
}

inline bool masked(const gatewise_lstm& layer, int64_t row, int64_t step) {
  return layer.mask && !layer.mask[row * layer.steps + step];
}

}  // namespace gatewise

#endif  // GATEWISE_RAGGED_H_
