// The one matrix product that all passes use: a tile of sums that stays in registers.

#ifndef GATEWISE_MATMUL_H_
#define GATEWISE_MATMUL_H_

#include <algorithm>

#include "bfloat16.h"
#ifdef GATEWISE_TILES
#include "tiles.h"
#endif

namespace gatewise::GATEWISE_ISA {

// Maximum rows of a tile with N vectors of sums per row: the sums, the vectors of one factor and
// one of the other then fit into the registers without spilling.
template <int N>
constexpr int kRows = kRegisters == 32 || N <= 2 ? 6 : 3;

#ifdef GATEWISE_TILES
constexpr int kTall = kTileRows;  // rows of a product that fill the tiles of AMX
#else
constexpr int kTall = 0;  // there are none
struct Tiles {};
#endif

// A pragma unrolls every loop over a tile, here and where a tile is filled or stored: if a single
// loop is not unrolled, GCC 12 keeps the sums in memory, at half the speed (docs/log.md).

#ifdef GATEWISE_TILES
// Calls act(0) to act(N - 1) with constants.
template <int N, class Act>
GATEWISE_INLINE void with_each(Act act) {
  act(std::integral_constant<int, 0>{});
  if constexpr (N > 1) act(std::integral_constant<int, 1>{});
  if constexpr (N > 2) act(std::integral_constant<int, 2>{});
  if constexpr (N > 3) act(std::integral_constant<int, 3>{});
}

// multiply() for up to four vectors of sums per row, on tiles: sums in 0 to 3, the left factor in
// 4, the right one in 5. Rows of sums are `acc_row` vectors apart, vectors of the right factor
// `column` pairs. Fewer than 16 rows are filled up, because vector instructions would add in
// another order.
template <int R, int N, bool kPerGate>
GATEWISE_INLINE void multiply_on_tiles(Vector<float>* acc, int64_t acc_row, const Pair* a,
                                       int64_t a_row, int64_t a_step, const Pair* b, int64_t b_step,
                                       int64_t column, int64_t count, int64_t a_gate) {
  Vector<float> filled[R == kTileRows ? 1 : kTileRows][N] = {};
  Vector<float>* const sums = R == kTileRows ? acc : filled[0];
  const int64_t row = R == kTileRows ? acc_row : N;
  if constexpr (R < kTileRows) {
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) filled[r][n] = acc[r * acc_row + n];
    }
  }
  with_each<N>([&](auto n) { load_tile<n>(sums + n, row * kTileBytes); });
  for (int64_t k = 0; k < count; k += kTileRows, a += kTileRows * a_step, b += kTileRows * b_step) {
    const int some = static_cast<int>(std::min<int64_t>(kTileRows, count - k));
    if constexpr (!kPerGate) load_left<4>(a, a_row, a_step, R, some);
    with_each<N>([&](auto n) {
      if constexpr (kPerGate) load_left<4>(a + n * a_gate, a_row, a_step, R, some);
      load_right<5>(b + n * column, b_step, some);
      multiply_tiles<n, 4, 5>();
    });
  }
  with_each<N>([&](auto n) { store_tile<n>(sums + n, row * kTileBytes); });
  if constexpr (R < kTileRows) {
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) acc[r * acc_row + n] = filled[r][n];
    }
  }
}
#endif

// acc[r][n] += sum over k < count of a[r a_row + k a_step] * b[k b_step + b_of(n)], in this order,
// with b_of(n) = (n / kGroup) b_group + (n % kGroup) kWidth. `count` and k count operands, which
// are single terms or pairs (bfloat16.h). With kPerGate the left factor of vector n is at an
// additional offset of (n % kGroup) a_gate, because each gate has its own rows.
template <class S, int R, int N, int kGroup, bool kPerGate = false>
GATEWISE_INLINE void multiply(Vector<Sum<S>> (&acc)[R][N], const S* a, int64_t a_row,
                              int64_t a_step, const S* b, int64_t b_step, int64_t b_group,
                              int64_t count, int64_t a_gate = 0) {
#ifdef GATEWISE_TILES
  constexpr int kColumns = N < 4 ? N : 4;
  static_assert(kGroup == kColumns || (kGroup == 1 && N <= 4), "a group is one set of tiles");
  // A split operand is two pairs; so is a split vector two vectors of pairs.
  constexpr int64_t kParts = sizeof(S) / sizeof(Pair);
  const Pair *left = reinterpret_cast<const Pair*>(a), *right = reinterpret_cast<const Pair*>(b);
  const int64_t column = kParts * (kGroup == 1 ? b_group : kWidth<S>);
  const auto add = [&](int64_t left_part, int64_t right_part) {
    for (int n = 0; n < N; n += kColumns) {
      multiply_on_tiles<R, kColumns, kPerGate>(
          acc[0] + n, N, left + left_part, kParts * a_row, kParts * a_step,
          right + right_part * kWidth<S> + n / kColumns * kParts * b_group, kParts * b_step, column,
          count, kParts * a_gate);
    }
  };
  if constexpr (kParts == 2) add(0, 1), add(1, 0);
  add(0, 0);
#else
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
#endif
}

// Splits `rows` into tiles of height kTall, as far as there are such, and of nearly equal height,
// at most kRows<N>: calls tile(first row, height).
template <int N, class Tile>
GATEWISE_INLINE void deal(int64_t rows, Tile tile) {
  const int64_t tall = kTall > 0 ? rows - rows % std::max(kTall, 1) : 0;
  for (int64_t from = 0; from < tall; from += kTall) tile(from, kTall);
  rows -= tall;
  const int64_t tiles = (rows + kRows<N> - 1) / kRows<N>;
  for (int64_t n = 0; n < tiles; ++n) {
    const int64_t from = rows * n / tiles;
    tile(tall + from, static_cast<int>(rows * (n + 1) / tiles - from));
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
    default: {                                \
      constexpr int R = kTall ? kTall : 1;    \
      call;                                   \
      break;                                  \
    }                                         \
  }

// deal<N>() chooses no height above kRows<N>: no tile of such a height is compiled.
#define GATEWISE_OF_HEIGHT(rows, N, call)           \
  case rows: {                                      \
    constexpr int R = kRows<N> < rows ? 1 : (rows); \
    call;                                           \
    break;                                          \
  }

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_MATMUL_H_
