// What one instruction set offers to gatewise.cpp, and how the work of a layer is dealt to a team.

#ifndef GATEWISE_KERNELS_H_
#define GATEWISE_KERNELS_H_

#include <cstdint>

#include "gatewise.h"
#include "ragged.h"
#include "threads.h"

namespace gatewise {

// How many of a team work on one layer, and in which way.
struct Deal {
  int members;
  // Each share of the work is rows of its own through all steps, and waits for nobody; or, where
  // rows are few or the weights too large for one core's cache, units of its own, all shares at the
  // same time, waiting for each other after every step.
  bool by_units;

  int lanes() const { return by_units ? 1 : members; }   // groups of rows
  int shares() const { return by_units ? members : 1; }  // groups of units
};

// For layer `index` of `count`.
Deal deal_team(const gatewise_lstm& layer, int index, int count, int members);

struct Kernels {
  const char* name;
  int32_t (*forward_float)(const gatewise_lstm*, int32_t, Team&);
  int32_t (*forward_double)(const gatewise_lstm*, int32_t, Team&);
  int32_t (*backward_float)(const gatewise_lstm*, const gatewise_gradient*, int32_t, Team&);
  int32_t (*backward_double)(const gatewise_lstm*, const gatewise_gradient*, int32_t, Team&);
};

#define GATEWISE_DECLARE(isa)                                                              \
  namespace isa {                                                                          \
  int32_t forward_float(const gatewise_lstm*, int32_t, Team&);                             \
  int32_t forward_double(const gatewise_lstm*, int32_t, Team&);                            \
  int32_t backward_float(const gatewise_lstm*, const gatewise_gradient*, int32_t, Team&);  \
  int32_t backward_double(const gatewise_lstm*, const gatewise_gradient*, int32_t, Team&); \
  }

GATEWISE_DECLARE(avx512)
GATEWISE_DECLARE(avx2)
GATEWISE_DECLARE(portable)

}  // namespace gatewise

#endif  // GATEWISE_KERNELS_H_
