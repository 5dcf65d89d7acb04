// The matrix product that all passes use: a tile of sums that stays in registers, or on the tiles
// of AMX until it is done.

#ifndef GATEWISE_MATMUL_H_
#define GATEWISE_MATMUL_H_

#include <algorithm>

#include "bfloat16.h"

namespace gatewise::GATEWISE_ISA {

// Maximum rows of a tile with N vectors of sums per row: the sums, the vectors of one factor and
// one of the other then fit into the registers without spilling.
template <int N>
constexpr int kRows = kRegisters == 32 || N <= 2 ? 6 : 3;

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
    } else if constexpr (kRegisters == 16 && R > N) {  // the right factor has fewer vectors
      Vector<S> right[N];
#pragma GCC unroll 32
      for (int n = 0; n < N; ++n) {
        right[n] = load(b + (n / kGroup) * b_group + (n % kGroup) * kWidth<S>);
      }
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) {
        const Vector<S> left = all(a[r * a_row]);
#pragma GCC unroll 32
        for (int n = 0; n < N; ++n) acc[r][n] = add_products(left, right[n], acc[r][n]);
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

// Splits `rows` into tiles of nearly equal height, at most kRows<N>: calls tile(first row, height).
template <int N, class Tile>
GATEWISE_INLINE void deal(int64_t rows, Tile tile) {
  const int64_t tiles = (rows + kRows<N> - 1) / kRows<N>;
  for (int64_t n = 0; n < tiles; ++n) {
    const int64_t from = rows * n / tiles;
    tile(from, static_cast<int>(rows * (n + 1) / tiles - from));
  }
}

// Executes `call` with `height`, one that deal<N>() chooses, as the compile-time constant R.
#define GATEWISE_WITH_HEIGHT(height, N, call) \
  switch (height) {                           \
    GATEWISE_OF_HEIGHT(1, N, call)            \
    GATEWISE_OF_HEIGHT(2, N, call)            \
    GATEWISE_OF_HEIGHT(3, N, call)            \
    GATEWISE_OF_HEIGHT(4, N, call)            \
    GATEWISE_OF_HEIGHT(5, N, call)            \
    GATEWISE_OF_HEIGHT(6, N, call)            \
  }

// deal<N>() chooses no height above kRows<N>: no tile of such a height is compiled.
#define GATEWISE_OF_HEIGHT(rows, N, call)           \
  case rows: {                                      \
    constexpr int R = kRows<N> < rows ? 1 : (rows); \
    call;                                           \
    break;                                          \
  }

// The same on the tiles of AMX, whose products take 16 operands of a row and 16 rows at a time.

#ifdef GATEWISE_TILES
constexpr bool kTiles = true;
#else
constexpr bool kTiles = false;
struct Tiles {};
#endif
constexpr int kTallest = 32;  // rows of one multiplication

// [panels of 16 operands][rows][16], in whole sixteens of rows; one for each gate, or one for all.
// 16 split operands are 16 higher pairs before 16 lower ones.
template <class S>
struct LeftFactor {
  const S* data;
  int64_t panel, gate;  // from one to the next
};
// [vectors of the result][panels of 16 operands][16][16]
template <class S>
struct RightFactor {
  const S* data;
  int64_t vector;  // from one to the next
};

// to[r][n] = from[r][n] + the product, for N vectors (1, 2 or 4) of up to kTallest rows, which are
// `row` floats apart. Without `from`, sums start at zero. Whole sixteens of rows are read and
// written. Tiles add first and second terms of pairs apart, vector instructions one after the
// other. The processor multiplies while it does what `meanwhile` asks for, count_calls() times.
template <int N, bool kPerGate = false, class S, class Meanwhile>
void multiply_on_tiles(int rows, LeftFactor<S> left, RightFactor<S> right, int64_t panels,
                       const float* from, float* to, int64_t row, Meanwhile meanwhile);

template <int N>
int64_t count_calls(int rows, int64_t panels) {
  return rows > 16 && N > 2 ? 2 * panels : panels;
}

// Calls tile(first row, height) for tiles of kTallest rows, and for what is left.
template <class Tile>
GATEWISE_INLINE void deal_tall(int64_t rows, Tile tile) {
  for (int64_t from = 0; from < rows; from += kTallest) {
    tile(from, static_cast<int>(std::min<int64_t>(kTallest, rows - from)));
  }
}

}  // namespace gatewise::GATEWISE_ISA

#ifdef GATEWISE_TILES
#include "tiles.h"
#endif

#endif  // GATEWISE_MATMUL_H_
