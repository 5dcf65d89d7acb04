// The C interface: checks the arguments, chooses the instruction set, distributes the work.

#include "gatewise.h"

#ifdef __GLIBC__
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#endif
#ifdef GATEWISE_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

#include "kernels.h"

namespace gatewise {
namespace {

#ifdef __GLIBC__
// Makes the next GiB of the heap large pages, which the kernel maps when they are first written.
void use_huge_pages() {
  constexpr size_t kBytes = size_t{1} << 30, kPage = size_t{2} << 20;
  rlimit space;
  if (getrlimit(RLIMIT_AS, &space) != 0 || space.rlim_cur != RLIM_INFINITY) {
    return;  // the addresses are scarce
  }
  if (void* memory = std::malloc(kBytes)) {
    const auto begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) / kPage * kPage;
    const auto end = (reinterpret_cast<uintptr_t>(memory) + kBytes) / kPage * kPage;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
    std::free(memory);
  }
}
#endif

bool always() { return true; }
bool never() { return false; }
#ifdef GATEWISE_AVX512
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#endif
#ifdef GATEWISE_AVX512BF16
bool has_avx512bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
// Intel's processors take twice the time of AMD's for vdpbf16ps, and are faster without it.
bool is_amd() { return __builtin_cpu_is("amd"); }
#endif
#ifdef GATEWISE_AMX
// Linux grants a process the registers of AMX when it asks for them: arch_prctl(2).
bool has_amx() {
  constexpr unsigned kTilesOfBfloat16 = 1u << 24 | 1u << 22;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
         (d & kTilesOfBfloat16) == kTilesOfBfloat16 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif
#ifdef GATEWISE_AVX2
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

struct Isa {
  const char* name;
  Kernels full, bfloat16;
  Steps steps;
  bool (*has_bfloat16)(), (*has_bfloat16x3)();  // whether these are faster than float
  bool (*runs_here)();
};

#define GATEWISE_KERNELS(isa) {isa::forward, isa::backward}
#define GATEWISE_STEPS(isa) {isa::pack_cells, isa::step_cells}

// Best first.
const Isa kIsas[] = {
#ifdef GATEWISE_AMX
    {"amx", GATEWISE_KERNELS(avx512), GATEWISE_KERNELS(amx), GATEWISE_STEPS(avx512), always, always,
     has_amx},
#endif
#ifdef GATEWISE_AVX512BF16
    {"avx512bf16", GATEWISE_KERNELS(avx512), GATEWISE_KERNELS(avx512bf16), GATEWISE_STEPS(avx512),
     is_amd, never, has_avx512bf16},
#endif
#ifdef GATEWISE_AVX512
    {"avx512", GATEWISE_KERNELS(avx512), GATEWISE_KERNELS(avx512), GATEWISE_STEPS(avx512), never,
     never, has_avx512},
#endif
#ifdef GATEWISE_AVX2
    {"avx2", GATEWISE_KERNELS(avx2), GATEWISE_KERNELS(avx2), GATEWISE_STEPS(avx2), never, never,
     has_avx2},
#endif
    {"portable", GATEWISE_KERNELS(portable), GATEWISE_KERNELS(portable), GATEWISE_STEPS(portable),
     never, never, always},
#ifdef GATEWISE_AMX_EMULATED  // for tests, by its name
    {"amx_emulated", GATEWISE_KERNELS(avx512), GATEWISE_KERNELS(amx_emulated),
     GATEWISE_STEPS(avx512), never, never, has_avx512},
#endif
};

const Isa& isa() {
  static const Isa& chosen = []() -> const Isa& {
    const char* asked = std::getenv("GATEWISE_ISA");
    for (const Isa& one : kIsas) {
      if (one.runs_here() && asked && !std::strcmp(asked, one.name)) return one;
    }
    for (const Isa& one : kIsas) {
      if (one.runs_here()) return one;
    }
    return kIsas[0];
  }();
  return chosen;
}

const Kernels& kernels(const gatewise_lstm& layer) {
  return layer.products == GATEWISE_FULL ? isa().full : isa().bfloat16;
}

// With fewer rows, three products on tiles of 16 rows take longer than one of float.
constexpr int64_t kFewForSplit = 8;

// The layers, with products of float where those that were asked for are slower.
std::vector<gatewise_lstm> worthwhile(const gatewise_lstm* layers, int32_t count) {
  std::vector<gatewise_lstm> all(layers, layers + count);
  if (layers->products == GATEWISE_BFLOAT16X3 && layers->batch < kFewForSplit &&
      isa().has_bfloat16x3()) {
    for (gatewise_lstm& layer : all) layer.products = GATEWISE_FULL;
  }
  return all;
}

bool known(int32_t activation) {
  return activation >= GATEWISE_TANH && activation <= GATEWISE_LINEAR;
}

bool good(const gatewise_lstm& layer) {
  return layer.batch >= 1 && layer.steps >= 1 && layer.features >= 1 && layer.units >= 1 &&
         known(layer.activation) && known(layer.recurrent_activation) && layer.x && layer.kernel &&
         layer.recurrent_kernel && layer.products >= GATEWISE_FULL &&
         layer.products <= GATEWISE_BFLOAT16X3 &&
         (layer.products == GATEWISE_FULL || !layer.double_precision);
}

// Whether the layers of a call have the same types.
bool alike(const gatewise_lstm& one, const gatewise_lstm& other) {
  return one.double_precision == other.double_precision && one.products == other.products;
}

bool good(const gatewise_cell* layers, int32_t count) {
  for (int32_t n = 0; n < count; ++n) {
    const gatewise_cell& layer = layers[n];
    if (layer.features < 1 || layer.units < 1 || !known(layer.activation) ||
        !known(layer.recurrent_activation) || !layer.kernel || !layer.recurrent_kernel ||
        (n > 0 && layer.features != layers[n - 1].units)) {
      return false;
    }
  }
  return true;
}

double work(const gatewise_lstm& layer) {
  return 8.0 * static_cast<double>(layer.units) *
         static_cast<double>(layer.features + layer.units) * static_cast<double>(layer.batch) *
         static_cast<double>(layer.steps);
}

// Waking another thread costs a few microseconds, as much as this many operations on one core.
constexpr double kWorthATeam = 1e6;

int wanted(const gatewise_lstm* layers, int32_t count) {
  double all = 0;
  for (int32_t n = 0; n < count; ++n) all += work(layers[n]);
  return all < kWorthATeam ? 1 : threads();
}

}  // namespace

Deal deal_team(const gatewise_lstm& layer, int index, int count, int members) {
  Deal deal{};
  deal.members = std::max(1, members * (index + 1) / count - members * index / count);

  // Sharing by rows needs no waiting. Sharing by units pays off with too few rows for the threads,
  // or if the recurrent weights exceed a second-level cache and too few rows share each read of
  // them; and only if the work of a step is long compared with the waiting.
  const double step = work(layer) / std::max<double>(1.0, static_cast<double>(layer.steps));
  const bool few = layer.batch < 2 * deal.members;
  const bool large = layer.units > 256 && layer.batch < 32 * deal.members;
  deal.by_units = deal.members > 1 && (few || large) && layer.units >= 32 * deal.members &&
                  step > 2e5 * deal.members;
  return deal;
}

}  // namespace gatewise

extern "C" {

int32_t gatewise_version(void) { return GATEWISE_VERSION; }

int64_t gatewise_reserve_size(int64_t steps, int64_t units) {
  // Four gates, h and c, with units padded to the widest panel; one extra step, because panels are
  // an odd number of places apart.
  return 6 * ((units + 15) / 16 * 16) * (steps + 1);
}

int32_t gatewise_lstm_forward(const gatewise_lstm* layers, int32_t count) {
  if (!layers || count < 1) return GATEWISE_BAD_ARGUMENT;
  for (int32_t n = 0; n < count; ++n) {
    if (!gatewise::good(layers[n])) return GATEWISE_BAD_ARGUMENT;
    if (!gatewise::alike(layers[n], layers[0])) return GATEWISE_BAD_ARGUMENT;
  }
  try {
    const auto all = gatewise::worthwhile(layers, count);
    gatewise::Team team(gatewise::wanted(layers, count));
    return gatewise::kernels(all[0]).forward(all.data(), count, team);
  } catch (const std::bad_alloc&) {
    return GATEWISE_NO_MEMORY;
  }
}

int32_t gatewise_lstm_backward(const gatewise_lstm* layers, const gatewise_gradient* gradients,
                               int32_t count) {
  if (!layers || !gradients || count < 1) return GATEWISE_BAD_ARGUMENT;
  for (int32_t n = 0; n < count; ++n) {
    if (!gatewise::good(layers[n]) || !layers[n].reserve) return GATEWISE_BAD_ARGUMENT;
    if (!gatewise::alike(layers[n], layers[0])) return GATEWISE_BAD_ARGUMENT;
  }
  try {
    const auto all = gatewise::worthwhile(layers, count);
    gatewise::Team team(gatewise::wanted(layers, count));
    return gatewise::kernels(all[0]).backward(all.data(), gradients, count, team);
  } catch (const std::bad_alloc&) {
    return GATEWISE_NO_MEMORY;
  }
}

int32_t gatewise_cells_pack(const gatewise_cell* layers, int32_t count, int32_t weights,
                            gatewise_cells** cells) {
  if (!layers || count < 1 || !cells || !gatewise::good(layers, count) ||
      (weights != GATEWISE_FLOAT32 && weights != GATEWISE_INT8)) {
    return GATEWISE_BAD_ARGUMENT;
  }
  try {
    auto made = std::make_unique<gatewise_cells>();
    made->weights = weights;
    made->features = layers->features;
    for (int32_t n = 0; n < count; ++n) made->units += layers[n].units;
    made->layers.resize(static_cast<size_t>(count));
    const gatewise::Steps& steps = gatewise::isa().steps;
    made->memory.resize(steps.pack(*made, layers, nullptr) + 64);
    char* const memory = made->memory.data();
    steps.pack(*made, layers, memory + (64 - reinterpret_cast<uintptr_t>(memory) % 64) % 64);
    *cells = made.release();
    return GATEWISE_DONE;
  } catch (const std::bad_alloc&) {
    return GATEWISE_NO_MEMORY;
  } catch (const std::length_error&) {
    return GATEWISE_NO_MEMORY;
  }
}

int32_t gatewise_cells_step(const gatewise_cells* cells, int64_t batch,
                            const gatewise_states* states) {
  if (!cells || batch < 1 || !states || !states->x || !states->h || !states->c || !states->h_next ||
      !states->c_next) {
    return GATEWISE_BAD_ARGUMENT;
  }
  gatewise::isa().steps.step(*cells, batch, *states);
  return GATEWISE_DONE;
}

void gatewise_cells_free(gatewise_cells* cells) { delete cells; }

int32_t gatewise_threads(void) { return gatewise::threads(); }
void gatewise_set_threads(int32_t threads) { gatewise::set_threads(threads); }

void gatewise_keep_memory(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, INT_MAX);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  // As large as the heap of one thread, which is otherwise returned whenever it is empty.
  mallopt(M_TOP_PAD, 64 << 20);
  // Arrays above 64 MiB do not fit into the heap of one thread, and would be mapped anew each time.
  mallopt(M_ARENA_MAX, 1);
  gatewise::use_huge_pages();
#endif
}

const char* gatewise_isa(void) { return gatewise::isa().name; }

int32_t gatewise_has_products(int32_t products) {
  switch (products) {
    case GATEWISE_FULL:
      return true;
    case GATEWISE_BFLOAT16:
      return gatewise::isa().has_bfloat16();
    case GATEWISE_BFLOAT16X3:
      return gatewise::isa().has_bfloat16x3();
    default:
      return false;
  }
}

}  // extern "C"
