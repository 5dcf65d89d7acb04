// The C interface: checks the arguments, chooses the instruction set, distributes the work.

#include "gatewise.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels.h"

namespace gatewise {
namespace {

#define GATEWISE_KERNELS(isa) \
  {#isa, isa::forward_float, isa::forward_double, isa::backward_float, isa::backward_double}

bool always() { return true; }
#ifdef GATEWISE_AVX512
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#endif
#ifdef GATEWISE_AVX2
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

struct Choice {
  Kernels kernels;
  bool (*runs_here)();
};

// Best first.
const Choice kChoices[] = {
#ifdef GATEWISE_AVX512
    {GATEWISE_KERNELS(avx512), has_avx512},
#endif
#ifdef GATEWISE_AVX2
    {GATEWISE_KERNELS(avx2), has_avx2},
#endif
    {GATEWISE_KERNELS(portable), always},
};

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
    const char* asked = std::getenv("GATEWISE_ISA");
    for (const Choice& choice : kChoices) {
      if (choice.runs_here() && asked && !std::strcmp(asked, choice.kernels.name)) {
        return choice.kernels;
      }
    }
    for (const Choice& choice : kChoices) {
      if (choice.runs_here()) return choice.kernels;
    }
    return kChoices[0].kernels;
  }();
  return chosen;
}

bool known(int32_t activation) {
  return activation >= GATEWISE_TANH && activation <= GATEWISE_LINEAR;
}

bool good(const gatewise_lstm& layer) {
  return layer.batch >= 1 && layer.steps >= 1 && layer.features >= 1 && layer.units >= 1 &&
         known(layer.activation) && known(layer.recurrent_activation) && layer.x && layer.kernel &&
         layer.recurrent_kernel;
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
    if (layers[n].double_precision != layers[0].double_precision) return GATEWISE_BAD_ARGUMENT;
  }
  try {
    const gatewise::Kernels& kernels = gatewise::kernels();
    gatewise::Team team(gatewise::wanted(layers, count));
    return (layers->double_precision ? kernels.forward_double : kernels.forward_float)(layers,
                                                                                       count, team);
  } catch (const std::bad_alloc&) {
    return GATEWISE_NO_MEMORY;
  }
}

int32_t gatewise_lstm_backward(const gatewise_lstm* layers, const gatewise_gradient* gradients,
                               int32_t count) {
  if (!layers || !gradients || count < 1) return GATEWISE_BAD_ARGUMENT;
  for (int32_t n = 0; n < count; ++n) {
    if (!gatewise::good(layers[n]) || !layers[n].reserve) return GATEWISE_BAD_ARGUMENT;
    if (layers[n].double_precision != layers[0].double_precision) return GATEWISE_BAD_ARGUMENT;
  }
  try {
    const gatewise::Kernels& kernels = gatewise::kernels();
    gatewise::Team team(gatewise::wanted(layers, count));
    return (layers->double_precision ? kernels.backward_double : kernels.backward_float)(
        layers, gradients, count, team);
  } catch (const std::bad_alloc&) {
    return GATEWISE_NO_MEMORY;
  }
}

int32_t gatewise_threads(void) { return gatewise::threads(); }
void gatewise_set_threads(int32_t threads) { gatewise::set_threads(threads); }

void gatewise_keep_memory(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  // As large as the heap of one thread, which is otherwise returned whenever it is empty.
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

const char* gatewise_isa(void) { return gatewise::kernels().name; }

}  // extern "C"
