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
#define GATEWISE_WITH_TILE(tile, use) \
  asm volatile("" ::: "memory");      \
  if constexpr (tile == 0) use(0);    \
  if constexpr (tile == 1) use(1);    \
  if constexpr (tile == 2) use(2);    \
  if constexpr (tile == 3) use(3);    \
  if constexpr (tile == 4) use(4);    \
  if constexpr (tile == 5) use(5);    \
  asm volatile("" ::: "memory")

template <int kTile>
GATEWISE_INLINE void load_tile(const void* from, int64_t row_bytes) {
#define GATEWISE_LOAD(tile) _tile_loadd(tile, from, row_bytes)
  GATEWISE_WITH_TILE(kTile, GATEWISE_LOAD);
#undef GATEWISE_LOAD
}

template <int kTile>
GATEWISE_INLINE void store_tile(void* to, int64_t row_bytes) {
#define GATEWISE_STORE(tile) _tile_stored(tile, to, row_bytes)
  GATEWISE_WITH_TILE(kTile, GATEWISE_STORE);
#undef GATEWISE_STORE
}

template <int kSums, int kLeft, int kRight>
GATEWISE_INLINE void multiply_tiles() {
  static_assert(kLeft == 4 && kRight == 5, "the literals below");
#define GATEWISE_MULTIPLY(tile) _tile_dpbf16ps(tile, 4, 5)
  GATEWISE_WITH_TILE(kSums, GATEWISE_MULTIPLY);
#undef GATEWISE_MULTIPLY
}

#endif

// Loads `count` operands of each of `height` rows as a left tile; zeros fill it up.
template <int kTile>
GATEWISE_INLINE void load_left(const Pair* a, int64_t a_row, int64_t a_step, int height,
                               int count) {
  if (a_step == 1 && height == kTileRows && count == 16) {
    return load_tile<kTile>(a, a_row * sizeof(Pair));
  }
  alignas(kTileBytes) Pair rows[kTileRows][16] = {};
  for (int k = 0; k < count; ++k) {
    for (int r = 0; r < height; ++r) rows[r][k] = a[r * a_row + k * a_step];
  }
  load_tile<kTile>(rows, kTileBytes);
}

// Loads `count` vectors of operands as a right tile; zeros fill it up.
template <int kTile>
GATEWISE_INLINE void load_right(const Pair* b, int64_t b_step, int count) {
  if (count == 16) return load_tile<kTile>(b, b_step * sizeof(Pair));
  alignas(kTileBytes) Pair rows[kTileRows][16] = {};
  for (int k = 0; k < count; ++k) store(rows[k], load(b + k * b_step));
  load_tile<kTile>(rows, kTileBytes);
}

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_TILES_H_
