// The one matrix product that all passes use: a tile of sums that stays in registers.

#ifndef GATEWISE_MATMUL_H_
#define GATEWISE_MATMUL_H_

#include "bfloat16.h"

namespace gatewise::GATEWISE_ISA {

// Maximum rows of a tile with four vectors of sums per row: the sums, one broadcast per row and one
// vector of the right factor then fit into the registers without spilling.
constexpr int kRows = kRegisters == 32 ? 6 : 3;

// A pragma unrolls every loop over a tile, here and where a tile is filled or stored: if a single
// loop is not unrolled, GCC 12 keeps the sums in memory, at half the speed (docs/log.md).

// acc[r][n] += sum over k < count of a[r a_row + k a_step] * b[k b_step + b_of(n)], in this order,
// with b_of(n) = (n / kGroup) b_group + (n % kGroup) kWidth. `count` and k count operands, which
// are single terms or pairs (bfloat16.h). With kPerGate the left factor of vector n is at an
// additional offset of (n % kGroup) a_gate, because each gate has its own rows.
template <class S, int R, int N, int kGroup, bool kPerGate = false>
GATEWISE_INLINE void multiply(Vector<Sum<S>> (&acc)[R][N], const S* a, int64_t a_row,
                              int64_t a_step, const S* b, int64_t b_step, int64_t b_group,
                              int64_t count, int64_t a_gate = 0) {
  for (int64_t k = 0; k < count; ++k) {
    if constexpr (kPerGate) {
#pragma GCC unroll 32
      for (int n = 0; n < N; ++n) {
        const Vector<S> right = load(b + (n / kGroup) * b_group + (n % kGroup) * kWidth<S>);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r) {
          acc[r][n] = add_products(all(a[r * a_row + (n % kGroup) * a_gate]), right, acc[r][n]);
        }
      }
    } else {
      Vector<S> left[R];
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) left[r] = all(a[r * a_row]);
#pragma GCC unroll 32
      for (int n = 0; n < N; ++n) {
        const Vector<S> right = load(b + (n / kGroup) * b_group + (n % kGroup) * kWidth<S>);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r) acc[r][n] = add_products(left[r], right, acc[r][n]);
      }
    }
    a += a_step;
    b += b_step;
  }
}

// Splits `rows` into tiles of nearly equal height, at most kRows: calls tile(first row, height).
template <class Tile>
GATEWISE_INLINE void deal(int64_t rows, Tile tile) {
  const int64_t tiles = (rows + kRows - 1) / kRows;
  for (int64_t n = 0; n < tiles; ++n) {
    const int64_t from = rows * n / tiles;
    tile(from, static_cast<int>(rows * (n + 1) / tiles - from));
  }
}

// Executes `call` with `height`, a value from 1 to kRows, as the compile-time constant R.
#define GATEWISE_WITH_HEIGHT(height, call) \
  switch (height) {                        \
    case 1: {                              \
      constexpr int R = 1;                 \
      call;                                \
      break;                               \
    }                                      \
    case 2: {                              \
      constexpr int R = 2;                 \
      call;                                \
      break;                               \
    }                                      \
    case 3: {                              \
      constexpr int R = 3;                 \
      call;                                \
      break;                               \
    }                                      \
    case 4: {                              \
      constexpr int R = kRows < 4 ? 1 : 4; \
      call;                                \
      break;                               \
    }                                      \
    case 5: {                              \
      constexpr int R = kRows < 5 ? 1 : 5; \
      call;                                \
      break;                               \
    }                                      \
    default: {                             \
      constexpr int R = kRows < 6 ? 1 : 6; \
      call;                                \
      break;                               \
    }                                      \
  }

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_MATMUL_H_
