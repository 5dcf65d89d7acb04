#include "ragged.h"

#include <algorithm>
#include <numeric>

namespace gatewise {

Ragged::Ragged(const gatewise_lstm& layer) {
  const int64_t batch = layer.batch, steps = layer.steps;
  const size_t rows = static_cast<size_t>(batch);
  row.resize(rows);
  length.assign(rows, static_cast<int32_t>(steps));
  std::iota(row.begin(), row.end(), 0);
  if (layer.mask) {
    std::vector<int32_t> count(rows, 0);
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t t = 0; t < steps; ++t) count[static_cast<size_t>(b)] += !masked(layer, b, t);
    }
    std::stable_sort(row.begin(), row.end(), [&](int32_t left, int32_t right) {
      return count[static_cast<size_t>(left)] > count[static_cast<size_t>(right)];
    });
    for (size_t s = 0; s < rows; ++s) length[s] = count[static_cast<size_t>(row[s])];
  }
  longest = batch > 0 ? length[0] : 0;

  first.assign(static_cast<size_t>(longest) + 1, 0);
  for (int64_t t = 0, active = batch; t < longest; ++t) {
    while (length[static_cast<size_t>(active - 1)] <= t) --active;
    first[static_cast<size_t>(t) + 1] = first[static_cast<size_t>(t)] + active;
  }
  source.resize(static_cast<size_t>(places()));
  for (int64_t s = 0; s < batch; ++s) {
    const int64_t b = row[static_cast<size_t>(s)];
    for (int64_t p = 0, t = 0; p < steps; ++p) {
      const int64_t step = position(layer, p);
      if (masked(layer, b, step)) continue;
      source[static_cast<size_t>(first[static_cast<size_t>(t++)] + s)] = b * steps + step;
    }
  }
}

std::vector<Lane> divide(const Ragged& ragged, int count) {
  const int64_t batch = static_cast<int64_t>(ragged.row.size());
  const int64_t all = ragged.places() + batch;  // a row without steps has something to do, too
  std::vector<Lane> lanes;
  int64_t row = 0, passed = 0;
  for (int n = 1; n <= count; ++n) {
    const int64_t from = row;
    for (; row < batch && passed * count < all * n; ++row) {
      passed += ragged.length[static_cast<size_t>(row)] + 1;
    }
    lanes.push_back({from, row - from});
  }
  return lanes;
}

}  // namespace gatewise
