// AMX: eight registers of 16 rows of 64 bytes, and one instruction that multiplies two of them.
//
// A tile of sums holds 16 rows of 16 floats, a left one 16 rows of 16 pairs, a right one 16 pairs
// of each of 16 columns. GATEWISE_EMULATE_TILES replaces the instructions by arrays with the same
// numbers, so that machines without AMX test everything that is built on them.

#ifndef GATEWISE_TILES_H_
#define GATEWISE_TILES_H_

#include "bfloat16.h"

namespace gatewise::GATEWISE_ISA {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 64;  // of a row
static_assert(kBytes == kTileBytes, "a row of a tile is a vector");

#ifdef GATEWISE_EMULATE_TILES

inline thread_local uint32_t emulated_tiles[8][kTileRows][16];

// While this lives, the thread has tiles.
struct Tiles {};

template <int kTile>
inline void clear_tile() {
  std::memset(emulated_tiles[kTile], 0, sizeof emulated_tiles[kTile]);
}

template <int kTile>
inline void load_tile(const void* from, int64_t row_bytes) {
  for (int r = 0; r < kTileRows; ++r) {
    std::memcpy(emulated_tiles[kTile][r], static_cast<const char*>(from) + r * row_bytes,
                kTileBytes);
  }
}

template <int kTile>
inline void store_tile(void* to, int64_t row_bytes) {
  for (int r = 0; r < kTileRows; ++r) {
    std::memcpy(static_cast<char*>(to) + r * row_bytes, emulated_tiles[kTile][r], kTileBytes);
  }
}

// tdpbf16ps: sums[r] += left[r][k] right[k] over k, first and second terms of the pairs apart.
template <int kSums, int kLeft, int kRight>
inline void multiply_tiles() {
  for (int r = 0; r < kTileRows; ++r) {
    Vector<float> firsts{}, seconds{};
    for (int k = 0; k < kTileRows; ++k) {
      const Vector<Pair> left = all(Pair{emulated_tiles[kLeft][r][k]});
      const Vector<Pair> right = load(reinterpret_cast<const Pair*>(emulated_tiles[kRight][k]));
      firsts = fused<float>((Vector<float>)(left << 16), (Vector<float>)(right << 16), firsts);
      seconds = fused<float>((Vector<float>)(left & 0xffff0000),
                             (Vector<float>)(right & 0xffff0000), seconds);
    }
    float* const sums = reinterpret_cast<float*>(emulated_tiles[kSums][r]);
    store(sums, load(sums) + (firsts + seconds));
  }
}

#else

// While this lives, the thread has tiles.
class Tiles {
 public:
  Tiles() {
    struct {
      uint8_t palette = 1, first_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } all;
    for (int tile = 0; tile < 8; ++tile) {
      all.row_bytes[tile] = kTileBytes;
      all.rows[tile] = kTileRows;
    }
    _tile_loadconfig(&all);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// GCC's intrinsics want the number of a tile as a literal, and do not tell the compiler that they
// read and write memory.
template <int kTile>
GATEWISE_INLINE void clear_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

template <int kTile>
GATEWISE_INLINE void load_tile(const void* from, int64_t row_bytes) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0"
               :
               : "i"(kTile), "r"(from), "r"(row_bytes)
               : "memory");
}

template <int kTile>
GATEWISE_INLINE void store_tile(void* to, int64_t row_bytes) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(kTile), "r"(to), "r"(row_bytes) : "memory");
}

template <int kSums, int kLeft, int kRight>
GATEWISE_INLINE void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kLeft), "i"(kRight));
}

#endif

// Calls act(0) to act(N - 1) with constants.
template <int N, class Act, int kFrom = 0>
GATEWISE_INLINE void with_each(Act act) {
  if constexpr (kFrom < N) {
    act(std::integral_constant<int, kFrom>{});
    with_each<N, Act, kFrom + 1>(act);
  }
}

// Exchanges rows and columns.
GATEWISE_INLINE void transpose(Vector<Pair> (&rows)[16]) {
  // In each round, rows and columns whose numbers differ in one bit change places.
  with_each<4>([&](auto round) {
    constexpr int kBit = 1 << round;
    Bits<float> lower{}, upper{};
    for (int n = 0; n < 16; ++n) {
      lower[n] = n & kBit ? 16 + n - kBit : n;
      upper[n] = n & kBit ? 16 + n : n + kBit;
    }
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) {
      if (n & kBit) continue;
      const __m512i first = (__m512i)rows[n], second = (__m512i)rows[n + kBit];
      rows[n] = (Vector<Pair>)_mm512_permutex2var_epi32(first, (__m512i)lower, second);
      rows[n + kBit] = (Vector<Pair>)_mm512_permutex2var_epi32(first, (__m512i)upper, second);
    }
  });
}

GATEWISE_INLINE void transpose(Vector<SplitPair> (&rows)[16]) {
  Vector<Pair> high[16], low[16];
  for (int n = 0; n < 16; ++n) high[n] = rows[n].high, low[n] = rows[n].low;
  transpose(high);
  transpose(low);
  for (int n = 0; n < 16; ++n) rows[n] = {high[n], low[n]};
}

// multiply_on_tiles() with at most four tiles of sums, 0 to 3. The left factor is in 4 and 5, the
// right one in 6 and 7.
template <int kTall, int N, bool kPerGate, class S, class Meanwhile>
GATEWISE_INLINE void multiply_four_tiles(LeftFactor<S> left, RightFactor<S> right, int64_t panels,
                                         const float* from, float* to, int64_t row,
                                         Meanwhile meanwhile) {
  static_assert(kTall * N <= 4, "tiles");
  constexpr int64_t kPanel = kTileRows * 16, kRowBytes = 16 * sizeof(S);
  const auto load_left = [](auto r, const S* operands, int part) {
    load_tile<4 + r>(reinterpret_cast<const Pair*>(operands + r * kPanel) + part * 16, kRowBytes);
  };
  // Adds the products of one part of each left operand and one of each right operand.
  const auto add = [&](int left_part, int right_part) {
    if constexpr (!kPerGate) {
      with_each<kTall>([&](auto r) { load_left(r, left.data, left_part); });
    }
    with_each<N>([&](auto n) {
      const S* const vector = right.data + n * right.vector;
      load_tile<6 + n % 2>(reinterpret_cast<const Pair*>(vector) + right_part * 16, kRowBytes);
      with_each<kTall>([&](auto r) {
        if constexpr (kPerGate) load_left(r, left.data + n * left.gate, left_part);
        multiply_tiles<r * N + n, 4 + r, 6 + n % 2>();
      });
    });
  };
  with_each<kTall * N>([&](auto n) {
    if (!from) return clear_tile<n>();
    load_tile<n>(from + n / N * kTileRows * row + n % N * 16, row * 4);
  });
  for (int64_t k = 0; k < panels; ++k, left.data += left.panel, right.data += kPanel) {
    if constexpr (sizeof(S) > sizeof(Pair)) add(0, 1), add(1, 0);
    add(0, 0);
    meanwhile();
  }
  with_each<kTall * N>(
      [&](auto n) { store_tile<n>(to + n / N * kTileRows * row + n % N * 16, row * 4); });
}

template <int N, bool kPerGate, class S, class Meanwhile>
GATEWISE_INLINE void multiply_on_tiles(int rows, LeftFactor<S> left, RightFactor<S> right,
                                       int64_t panels, const float* from, float* to, int64_t row,
                                       Meanwhile meanwhile) {
  if (rows <= kTileRows) {
    return multiply_four_tiles<1, N, kPerGate>(left, right, panels, from, to, row, meanwhile);
  }
  // Two tiles of rows by two of columns need four loads for four products instead of five.
  constexpr int kColumns = N < 2 ? N : 2;
  for (int n = 0; n < N; n += kColumns) {
    const LeftFactor<S> of_gates{left.data + (kPerGate ? n * left.gate : 0), left.panel, left.gate};
    const RightFactor<S> columns{right.data + n * right.vector, right.vector};
    multiply_four_tiles<2, kColumns, kPerGate>(
        of_gates, columns, panels, from ? from + n * 16 : nullptr, to + n * 16, row, meanwhile);
  }
}

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_TILES_H_
