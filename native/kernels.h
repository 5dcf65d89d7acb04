// The functions of each instruction set, and the distribution of a layer's work over a team.

#ifndef GATEWISE_KERNELS_H_
#define GATEWISE_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gatewise.h"
#include "ragged.h"
#include "threads.h"

namespace gatewise {

// One layer of gatewise_cells, in the layout of one instruction set (step.cpp).
struct Cell {
  int64_t features, units;
  int32_t activation, recurrent_activation;
  const void *kernel, *recurrent_kernel;
  const float *bias, *kernel_scales, *recurrent_scales;
};

}  // namespace gatewise

struct gatewise_cells {
  int32_t weights;          // enum gatewise_weights
  int64_t features, units;  // of the input, and of all layers together
  std::vector<gatewise::Cell> layers;
  std::vector<char> memory;
};

namespace gatewise {

// How many members of a team work on one layer, and how they divide it.
struct Deal {
  int members;
  // False: each share is a set of rows for all steps and runs without waiting. True, for few rows
  // or for weights larger than the cache of a core: each share is a range of units; all shares run
  // at the same time and wait for each other after every step.
  bool by_units;

  int lanes() const { return by_units ? 1 : members; }   // groups of rows
  int shares() const { return by_units ? members : 1; }  // groups of units
};

// The deal for layer `index` of `count`.
Deal deal_team(const gatewise_lstm& layer, int index, int count, int members);

struct Kernels {
  int32_t (*forward)(const gatewise_lstm*, int32_t, Team&);
  int32_t (*backward)(const gatewise_lstm*, const gatewise_gradient*, int32_t, Team&);
};

struct Steps {
  // Packs the layers into `memory`, or only returns its size if that is null.
  size_t (*pack)(gatewise_cells&, const gatewise_cell*, void* memory);
  void (*step)(const gatewise_cells&, int64_t batch, const gatewise_states&);
};

#define GATEWISE_DECLARE(isa)                                                       \
  namespace isa {                                                                   \
  int32_t forward(const gatewise_lstm*, int32_t, Team&);                            \
  int32_t backward(const gatewise_lstm*, const gatewise_gradient*, int32_t, Team&); \
  size_t pack_cells(gatewise_cells&, const gatewise_cell*, void*);                  \
  void step_cells(const gatewise_cells&, int64_t, const gatewise_states&);          \
  }

GATEWISE_DECLARE(amx_emulated)  // these three have the products of bfloat16 only, and no steps
GATEWISE_DECLARE(amx)
GATEWISE_DECLARE(avx512bf16)
GATEWISE_DECLARE(avx512)
GATEWISE_DECLARE(avx2)
GATEWISE_DECLARE(portable)

}  // namespace gatewise

#endif  // GATEWISE_KERNELS_H_
