// One step of a stack of layers. Rows are few, so the weights are read once for each tile of rows,
// and what costs is that reading: nothing is copied, and nothing is allocated.

#include <cmath>
#include <type_traits>

#include "layer.h"

namespace gatewise::GATEWISE_ISA {
#ifndef GATEWISE_BFLOAT16_ONLY
namespace {

constexpr int64_t V = kWidth<float>;

GATEWISE_INLINE Vector<float> as_floats(const float* from) { return load(from); }
GATEWISE_INLINE Vector<float> as_floats(const int8_t* from) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m512i whole = _mm512_maskz_cvtepi8_epi32(0xffff, bytes);
  return (Vector<float>)_mm512_maskz_cvtepi32_ps(0xffff, whole);
#elif defined(__AVX2__)
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return (Vector<float>)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#else
  float some[V];
  for (int64_t n = 0; n < V; ++n) some[n] = from[n];
  return load(some);
#endif
}

// Weights of one layer, [panels][rows][4][V], and with 8 bits their scales, [panels][4][V].
template <class W>
void pack(W* to, float* scales, const float* weights, int64_t rows, int64_t units) {
  const int64_t panels = (units + V - 1) / V;
  for (int64_t column = 0; column < panels * 4 * V; ++column) {
    const int64_t panel = column / (4 * V), gate = column / V % 4, lane = column % V;
    const int64_t unit = panel * V + lane;
    const float* from = weights + gate * units + unit;
    W* const at = to + panel * rows * 4 * V + gate * V + lane;
    float most = 0;
    for (int64_t k = 0; k < rows && unit < units; ++k) {
      most = std::max(most, std::fabs(from[k * 4 * units]));
    }
    const float scale = most > 0 ? most / 127 : 1;
    if (scales) scales[column] = scale;
    for (int64_t k = 0; k < rows; ++k) {
      const float weight = unit < units ? from[k * 4 * units] : 0;
      at[k * 4 * V] = static_cast<W>(scales ? std::nearbyint(weight / scale) : weight);
    }
  }
}

// Takes the arrays of a layer from the arena, and fills them.
template <class W>
void pack_layer(Cell& cell, const gatewise_cell& given, Arena& arena, bool fill) {
  const int64_t panels = (given.units + V - 1) / V, columns = panels * 4 * V;
  W* const kernel = arena.take<W>(columns * given.features);
  W* const recurrent = arena.take<W>(columns * given.units);
  float* const bias = arena.take<float>(columns);
  float *kernel_scales = nullptr, *recurrent_scales = nullptr;
  if constexpr (sizeof(W) == 1) {
    kernel_scales = arena.take<float>(columns);
    recurrent_scales = arena.take<float>(columns);
  }
  if (!fill) return;
  pack(kernel, kernel_scales, given.kernel, given.features, given.units);
  pack(recurrent, recurrent_scales, given.recurrent_kernel, given.units, given.units);
  for (int64_t column = 0; column < columns; ++column) {
    const int64_t gate = column / V % 4, unit = column / (4 * V) * V + column % V;
    bias[column] = given.bias && unit < given.units ? given.bias[gate * given.units + unit] : 0;
  }
  cell = {given.features,
          given.units,
          given.activation,
          given.recurrent_activation,
          kernel,
          recurrent,
          bias,
          kernel_scales,
          recurrent_scales};
}

// One step of one layer for all rows. Strides are those between rows.
struct Step {
  int64_t rows, x_stride, stride;
  const float *x, *h, *c;
  float *h_next, *c_next;
};

// acc += left weights, over `count` rows of the weights of P panels, in this order.
template <class W, int R, int P>
GATEWISE_INLINE void sum(Vector<float> (&acc)[R][4 * P], const float* left, int64_t left_stride,
                         const W* weights, int64_t count) {
  const int64_t panel = count * 4 * V;
  for (int64_t k = 0; k < count; ++k) {
    Vector<float> a[R];
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) a[r] = all(left[r * left_stride + k]);
#pragma GCC unroll 32
    for (int n = 0; n < 4 * P; ++n) {
      const Vector<float> b = as_floats(weights + n / 4 * panel + (k * 4 + n % 4) * V);
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) acc[r][n] = fused<float>(a[r], b, acc[r][n]);
    }
  }
}

template <class W, int R, int P>
void take_tile(const Cell& cell, const Step& step, int64_t panel, int64_t row) {
  const W *kernel = static_cast<const W*>(cell.kernel),
          *recurrent = static_cast<const W*>(cell.recurrent_kernel);
  const int64_t at = panel * 4 * V;
  constexpr bool kScaled = sizeof(W) == 1;
  // Two sums, in the order of forward.cpp, so that both give the same bits.
  float inputs[R][4 * P * V];
  Vector<float> acc[R][4 * P];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int n = 0; n < 4 * P; ++n) {
      acc[r][n] = kScaled ? Vector<float>{} : load(cell.bias + at + n * V);
    }
  }
  sum<W, R, P>(acc, step.x + row * step.x_stride, step.x_stride, kernel + at * cell.features,
               cell.features);
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int n = 0; n < 4 * P; ++n) {
      Vector<float> z = acc[r][n];
      if constexpr (kScaled) {
        z = fused<float>(z, load(cell.kernel_scales + at + n * V), load(cell.bias + at + n * V));
      }
      store(inputs[r] + n * V, z);
      acc[r][n] = Vector<float>{};
    }
  }
  sum<W, R, P>(acc, step.h + row * step.stride, step.stride, recurrent + at * cell.units,
               cell.units);
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
    for (int n = 0; n < 4 * P; ++n) {
      Vector<float> z = acc[r][n];
      if constexpr (kScaled) z *= load(cell.recurrent_scales + at + n * V);
      store(inputs[r] + n * V, z + load(inputs[r] + n * V));
    }
  }
  const Gates gates{cell.activation, cell.recurrent_activation};
  const auto activate_all = [&](auto usual) {
    constexpr bool kUsual = decltype(usual)::value;
    for (int p = 0; p < P; ++p) {
      const int64_t first = (panel + p) * V;
      const int columns = static_cast<int>(std::min(V, cell.units - first));
      for (int r = 0; r < R; ++r) {
        const float* z = inputs[r] + p * 4 * V;
        const int64_t place = (row + r) * step.stride + first;
        const Vector<float> i = gates.gate<kUsual, float>(load(z)),
                            f = gates.gate<kUsual, float>(load(z + V)),
                            g = gates.cell<kUsual, float>(load(z + 2 * V)),
                            o = gates.gate<kUsual, float>(load(z + 3 * V));
        const Vector<float> c = fused<float>(f, load_some(step.c + place, columns), i * g);
        store_some(step.c_next + place, c, columns);
        store_some(step.h_next + place, o * gates.cell<kUsual, float>(c), columns);
      }
    }
  };
  if (gates.usual()) {
    activate_all(std::true_type{});
  } else {
    activate_all(std::false_type{});
  }
}

// Several panels form a tile if there are one or two rows, as in forward.cpp.
template <class W>
void take_step(const Cell& cell, const Step& step) {
  constexpr int kMost = kRegisters == 32 ? 4 : 2;
  const int64_t panels = (cell.units + V - 1) / V;
  int64_t j = 0;
  if (step.rows == 1) {
    for (; j + kMost <= panels; j += kMost) take_tile<W, 1, kMost>(cell, step, j, 0);
  } else if (step.rows == 2 && kRegisters == 32) {
    for (; j + 2 <= panels; j += 2) take_tile<W, 2, 2>(cell, step, j, 0);
  }
  for (; j < panels; ++j) {
    deal<4>(step.rows, [&](int64_t from, int height) {
      GATEWISE_WITH_HEIGHT(height, 4, (take_tile<W, R, 1>(cell, step, j, from)));
    });
  }
}

}  // namespace

size_t pack_cells(gatewise_cells& cells, const gatewise_cell* layers, void* memory) {
  Arena arena(memory);
  for (size_t n = 0; n < cells.layers.size(); ++n) {
    if (cells.weights == GATEWISE_INT8) {
      pack_layer<int8_t>(cells.layers[n], layers[n], arena, memory != nullptr);
    } else {
      pack_layer<float>(cells.layers[n], layers[n], arena, memory != nullptr);
    }
  }
  return arena.used();
}

void step_cells(const gatewise_cells& cells, int64_t batch, const gatewise_states& states) {
  const FlushDenormals flush;
  Step step{batch,    cells.features, cells.units,   states.x,
            states.h, states.c,       states.h_next, states.c_next};
  for (const Cell& cell : cells.layers) {
    if (cells.weights == GATEWISE_INT8) {
      take_step<int8_t>(cell, step);
    } else {
      take_step<float>(cell, step);
    }
    // The next layer reads the output of this one, and its states are beside those of this one.
    step.x = step.h_next;
    step.x_stride = cells.units;
    step.h += cell.units, step.c += cell.units;
    step.h_next += cell.units, step.c_next += cell.units;
  }
}

#endif
}  // namespace gatewise::GATEWISE_ISA
