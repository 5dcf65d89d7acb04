// Compares the library with naive.cpp: check [ISA] [CASES]
//
// Runs layers of odd shapes with all options, and stops at the first wrong result with a sentence
// that names it. Exits with 77 if this machine does not support ISA. Defaults: the best instruction
// set, and 200 cases.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../gatewise.h"
#include "naive.h"

#if defined(__has_feature)  // Clang's equivalent of GCC's macros
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

namespace {

[[noreturn]] void fail(const std::string& sentence) {
  std::fprintf(stderr, "check: %s (GATEWISE_ISA=%s)\n", sentence.c_str(), gatewise_isa());
  std::_Exit(1);
}

std::string text(double number) {
  char digits[40];
  std::snprintf(digits, sizeof digits, "%.9g", number);
  return digits;
}

// The same numbers on every platform, unlike the distributions of the standard library.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t end) { return static_cast<int64_t>(engine_() % end); }
  bool one_in(int64_t many) { return below(many) == 0; }
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }

 private:
  std::mt19937_64 engine_;
};

// An array between two guards of odd length, which give it the worst alignment. It is filled with a
// particular NaN that no arithmetic produces, to detect elements that were never written. The
// address sanitizer replaces the guards.
template <class T>
class Array {
 public:
  explicit Array(int64_t size) : size_(size), all_(size + 2 * kGuard, untouched()) {}

  T* data() { return all_.data() + kGuard; }
  int64_t size() const { return size_; }
  T& operator[](int64_t n) { return all_[kGuard + n]; }
  const T& operator[](int64_t n) const { return all_[kGuard + n]; }

  bool is_untouched(int64_t n) const {
    const T nothing = untouched();
    return std::memcmp(&(*this)[n], &nothing, sizeof(T)) == 0;
  }
  bool guards_are_whole() const {
    for (int64_t n = 0; n < kGuard; ++n) {
      if (!is_untouched(-1 - n) || !is_untouched(size_ + n)) return false;
    }
    return true;
  }
  bool operator==(const Array& other) const {
    return std::memcmp(all_.data(), other.all_.data(), all_.size() * sizeof(T)) == 0;
  }
  void fill(Random& random, double spread) {
    for (int64_t n = 0; n < size_; ++n)
      (*this)[n] = static_cast<T>(random.between(-spread, spread));
  }

 private:
#ifdef __SANITIZE_ADDRESS__
  static constexpr int64_t kGuard = 0;
#else
  static constexpr int64_t kGuard = 33;
#endif
  static T untouched() {
    T value;
    if constexpr (sizeof(T) == 4) {
      const uint32_t bits = 0x7fc5a5a5;
      std::memcpy(&value, &bits, sizeof value);
    } else {
      const uint64_t bits = 0x7ff85a5a5a5a5a5a;
      std::memcpy(&value, &bits, sizeof value);
    }
    return value;
  }

  int64_t size_;
  std::vector<T> all_;
};

enum Mask { kNone, kAllRead, kRight, kLeft, kHoles, kMasks };
enum Layout { kCompact, kStepsFirst, kWide, kReversed, kLayouts };
enum Contents { kUsual, kSaturated, kNaN, kInfinite, kNaNGradient };

// The arguments of one call, except the arrays.
struct Case {
  int64_t batch, steps, features, units;
  int32_t count = 1;  // layers; the second one writes next to the first
  int64_t second_units = 0;
  bool bias = true, h0 = true, c0 = true, input_masks = false, recurrent_masks = false;
  bool go_backwards = false, zero_output = false, start_output = false;
  bool dy = true, dh = true, dc = true;
  int mask = kNone, layout = kCompact, contents = kUsual;
  int32_t activation = GATEWISE_TANH, recurrent_activation = GATEWISE_SIGMOID;
  int32_t products = GATEWISE_FULL;
  unsigned unwanted = 0;  // outputs that are not wanted, one bit each
  uint64_t seed = 0;

  std::string describe(bool double_precision) const {
    std::string said = double_precision ? "double" : "float";
    const auto add = [&](const char* name, int64_t value) {
      if (value) said += std::string(" ") + name + "=" + std::to_string(value);
    };
    add("B", batch), add("T", steps), add("I", features), add("H", units);
    add("count", count), add("second_units", second_units), add("bias", bias), add("h0", h0);
    add("c0", c0), add("input_masks", input_masks), add("recurrent_masks", recurrent_masks);
    add("go_backwards", go_backwards), add("zero_output", zero_output);
    add("start_output", start_output), add("dy", dy), add("dh", dh), add("dc", dc);
    add("mask", mask), add("layout", layout), add("contents", contents);
    add("activation", activation), add("recurrent_activation", recurrent_activation);
    add("products", products), add("unwanted", unwanted), add("seed", static_cast<int64_t>(seed));
    return said;
  }
};

// The input arrays of one layer.
template <class T>
struct Inputs {
  int64_t units;
  Array<T> x, h0, c0, kernel, recurrent_kernel, bias, input_masks, recurrent_masks, dh, dc;
  std::vector<uint8_t> mask;

  Inputs(const Case& given, int64_t own_units, Random& random)
      : units(own_units),
        x(given.batch * given.steps * given.features),
        h0(given.batch * units),
        c0(given.batch * units),
        kernel(given.features * 4 * units),
        recurrent_kernel(units * 4 * units),
        bias(4 * units),
        input_masks(4 * given.batch * given.features),
        recurrent_masks(4 * given.batch * units),
        dh(given.batch * units),
        dc(given.batch * units),
        mask(given.batch * given.steps, 1) {
    x.fill(random, 2);
    h0.fill(random, 1);
    c0.fill(random, 1);
    kernel.fill(random, 0.8 / std::sqrt(static_cast<double>(given.features)));
    recurrent_kernel.fill(random, 0.8 / std::sqrt(static_cast<double>(units)));
    bias.fill(random, 0.5);
    dh.fill(random, 1);
    dc.fill(random, 1);
    drop(input_masks, random);
    drop(recurrent_masks, random);
    for (int64_t b = 0; b < given.batch; ++b) mask_row(given, b, random);
    if (given.contents == kSaturated) saturate(random);
    if (given.contents == kNaN || given.contents == kInfinite) {
      const double strange = given.contents == kNaN ? std::numeric_limits<double>::quiet_NaN()
                                                    : std::numeric_limits<double>::infinity();
      x[random.below(x.size())] = static_cast<T>(strange);
      x[random.below(x.size())] = static_cast<T>(-strange);
    }
  }

 private:
  static void drop(Array<T>& masks, Random& random) {
    for (int64_t n = 0; n < masks.size(); ++n) masks[n] = random.one_in(3) ? T(0) : T(1.5);
  }

  // One row in five is masked completely.
  void mask_row(const Case& given, int64_t b, Random& random) {
    const int64_t length = random.one_in(5) ? 0 : 1 + random.below(given.steps);
    for (int64_t t = 0; t < given.steps; ++t) {
      bool read = true;
      if (given.mask == kRight) read = t < length;
      if (given.mask == kLeft) read = t >= given.steps - length;
      if (given.mask == kHoles) read = length > 0 && !random.one_in(3);
      // Any byte except 0 marks a step as unmasked.
      mask[b * given.steps + t] = read ? static_cast<uint8_t>(1 + random.below(255)) : 0;
    }
  }

  // An odd number of these adds up to at least 1e4, so every gate is far into saturation.
  void saturate(Random& random) {
    for (int64_t n = 0; n < x.size(); ++n) x[n] = random.one_in(2) ? T(1e4) : T(-1e4);
    for (int64_t n = 0; n < kernel.size(); ++n) kernel[n] = random.one_in(2) ? T(1) : T(-1);
  }
};

// All outputs of a call, by name.
template <class T>
using Written = std::vector<std::pair<std::string, Array<T>>>;

// All inputs of one call.
template <class T>
struct Call {
  Case given;
  std::vector<Inputs<T>> inputs;
  int64_t width;  // of a row of y, which may have gaps
  Array<T> dy;

  explicit Call(const Case& a_case) : Call(a_case, Random(a_case.seed)) {}

  // The start of y of a layer, and its strides.
  struct Place {
    int64_t first, batch_stride, step_stride;
  };
  Place place(int32_t layer) const {
    const int64_t column = layer ? inputs[0].units + gap() : 0;
    Place at{column, given.steps * width, width};
    if (given.layout == kStepsFirst) at = {column, width, given.batch * width};
    if (given.layout == kReversed) {
      at = {column + (given.batch * given.steps - 1) * width, -given.steps * width, -width};
    }
    // The other direction of a bidirectional layer writes its last step first.
    if (layer && given.layout != kReversed) {
      at.first += (given.steps - 1) * at.step_stride;
      at.step_stride = -at.step_stride;
    }
    return at;
  }

 private:
  Call(const Case& a_case, Random random)
      : given(a_case),
        inputs(layers(a_case, random)),
        width(sum_of_units() + gap() * static_cast<int64_t>(inputs.size())),
        dy(given.batch * given.steps * width) {
    dy.fill(random, 1);
    if (given.contents == kNaNGradient) {
      dy[random.below(dy.size())] = std::numeric_limits<T>::quiet_NaN();
    }
  }

  static std::vector<Inputs<T>> layers(const Case& given, Random& random) {
    std::vector<Inputs<T>> all;
    all.emplace_back(given, given.units, random);
    if (given.count == 2) all.emplace_back(given, given.second_units, random);
    return all;
  }
  int64_t gap() const { return given.layout == kWide ? 3 : 0; }
  int64_t sum_of_units() const {
    int64_t sum = 0;
    for (const Inputs<T>& one : inputs) sum += one.units;
    return sum;
  }
};

enum Engine { kLibrary, kNaive };

void expect_done(int32_t status, const std::string& description) {
  if (status) fail("status " + std::to_string(status) + " from " + description);
}

template <class T>
Written<T> run(Call<T>& call, Engine engine) {
  const Case& given = call.given;
  Written<T> written;
  written.reserve(1 + 8 * call.inputs.size());  // pointers into it must stay valid
  unsigned output = 0;
  const auto must = [&](const char* name, size_t layer, int64_t size) -> T* {
    written.emplace_back(name + std::string(layer ? " of the second layer" : ""), Array<T>(size));
    return written.back().second.data();
  };
  const auto may = [&](const char* name, size_t layer, int64_t size) -> T* {
    T* const data = must(name, layer, size);
    return given.unwanted >> output++ & 1 ? nullptr : data;
  };
  T* const y = may("y", 0, call.dy.size());
  std::vector<gatewise_lstm> layers;
  std::vector<gatewise_gradient> gradients;
  std::vector<Array<T>> reserves;
  for (size_t n = 0; n < call.inputs.size(); ++n) {
    Inputs<T>& in = call.inputs[n];
    const int64_t state = given.batch * in.units;
    const auto place = call.place(static_cast<int32_t>(n));
    reserves.emplace_back(given.batch * gatewise_reserve_size(given.steps, in.units));
    gatewise_lstm layer{};
    layer.batch = given.batch;
    layer.steps = given.steps;
    layer.features = given.features;
    layer.units = in.units;
    layer.double_precision = sizeof(T) == 8;
    layer.products = given.products;
    layer.activation = given.activation;
    layer.recurrent_activation = given.recurrent_activation;
    layer.go_backwards = given.go_backwards != (n == 1);
    layer.zero_output = given.zero_output;
    layer.start_output = given.start_output;
    layer.x = in.x.data();
    layer.mask = given.mask == kNone ? nullptr : in.mask.data();
    layer.h0 = given.h0 ? in.h0.data() : nullptr;
    layer.c0 = given.c0 ? in.c0.data() : nullptr;
    layer.kernel = in.kernel.data();
    layer.recurrent_kernel = in.recurrent_kernel.data();
    layer.bias = given.bias ? in.bias.data() : nullptr;
    layer.input_masks = given.input_masks ? in.input_masks.data() : nullptr;
    layer.recurrent_masks = given.recurrent_masks ? in.recurrent_masks.data() : nullptr;
    layer.y = y ? y + place.first : nullptr;
    layer.y_batch_stride = place.batch_stride;
    layer.y_step_stride = place.step_stride;
    layer.h = must("h", n, state);
    layer.c = must("c", n, state);
    layer.reserve = reserves.back().data();
    layers.push_back(layer);

    gatewise_gradient gradient{};
    gradient.dy = given.dy ? call.dy.data() + place.first : nullptr;
    gradient.dy_batch_stride = place.batch_stride;
    gradient.dy_step_stride = place.step_stride;
    gradient.dh = given.dh ? in.dh.data() : nullptr;
    gradient.dc = given.dc ? in.dc.data() : nullptr;
    gradient.dx = may("dx", n, in.x.size());
    gradient.dh0 = may("dh0", n, state);
    gradient.dc0 = may("dc0", n, state);
    gradient.dkernel = may("dkernel", n, in.kernel.size());
    gradient.drecurrent_kernel = may("drecurrent_kernel", n, in.recurrent_kernel.size());
    gradient.dbias = may("dbias", n, 4 * in.units);
    gradients.push_back(gradient);
  }
  const auto count = static_cast<int32_t>(layers.size());
  const std::string description = given.describe(sizeof(T) == 8);
  engine == kNaive ? naive_forward(layers.data(), count)
                   : expect_done(gatewise_lstm_forward(layers.data(), count), description);
  // NaN and infinity are tested in the forward pass only.
  if (given.contents != kNaN && given.contents != kInfinite) {
    for (gatewise_lstm& layer : layers) layer.y = layer.h = layer.c = nullptr;
    engine == kNaive
        ? naive_backward(layers.data(), gradients.data(), count)
        : expect_done(gatewise_lstm_backward(layers.data(), gradients.data(), count), description);
  }
  for (const Array<T>& reserve : reserves) {
    if (!reserve.guards_are_whole()) fail("written beyond the reserve: " + description);
  }
  return written;
}

template <class T>
void expect_same(const Written<T>& got, const Written<T>& wanted, const std::string& between) {
  for (size_t n = 0; n < got.size(); ++n) {
    if (!(got[n].second == wanted[n].second)) fail(got[n].first + " differs between " + between);
  }
}

template <class T>
void expect_near(const Written<T>& got, const Written<T>& wanted, const Case& given) {
  const std::string description = given.describe(sizeof(T) == 8);
  // With products of bfloat16, sums that differ by one float are now and then rounded to different
  // operands of the next step. Split operands have 16 bits instead of 24, so that a sum now and
  // then falls on the other side of a kink, where the derivative is another.
  const auto kinked = [](int32_t one) {
    return one == GATEWISE_RELU || one == GATEWISE_HARD_SIGMOID;
  };
  const bool kink = kinked(given.activation) || kinked(given.recurrent_activation);
  const double single[] = {3e-5, 1e-2, kink ? 1e-2 : 3e-4};
  const double tolerance = sizeof(T) == 8 ? 1e-11 : single[given.products];
  for (size_t a = 0; a < got.size(); ++a) {
    const Array<T>&one = got[a].second, &truth = wanted[a].second;
    if (!one.guards_are_whole()) fail("written beyond " + got[a].first + ": " + description);
    double largest = 1e-3;
    for (int64_t n = 0; n < truth.size(); ++n) {
      if (std::isfinite(truth[n])) largest = std::fmax(largest, std::fabs(truth[n]));
    }
    for (int64_t n = 0; n < truth.size(); ++n) {
      const bool near = std::isnan(truth[n]) ? std::isnan(one[n])
                        : std::isinf(truth[n])
                            ? one[n] == truth[n]
                            : std::fabs(one[n] - truth[n]) <= tolerance * largest;
      if (!near || one.is_untouched(n) != truth.is_untouched(n)) {
        fail(got[a].first + "[" + std::to_string(n) + "] is " +
             (one.is_untouched(n) ? "not written" : text(one[n])) + ", and should be " +
             (truth.is_untouched(n) ? "left alone" : text(truth[n])) + ": " + description);
      }
    }
  }
}

template <class T>
void check(const Case& given) {
  const std::string description = given.describe(sizeof(T) == 8);
  Call<T> call(given);
  gatewise_set_threads(1);
  const Written<T> alone = run(call, kLibrary);
  expect_near(alone, run(call, kNaive), given);
  for (int32_t threads = 2; threads <= 3; ++threads) {
    gatewise_set_threads(threads);
    expect_same(run(call, kLibrary), alone,
                "1 and " + std::to_string(threads) + " threads: " + description);
  }
}

void check_all(Case given) {
  check<float>(given);
  check<double>(given);
  given.products = GATEWISE_BFLOAT16;
  check<float>(given);
  if (given.contents == kInfinite) return;  // infinity becomes NaN
  given.products = GATEWISE_BFLOAT16X3;
  check<float>(given);
}

constexpr int64_t kOdd[] = {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 64, 100};

bool bounded(int32_t activation) {
  return activation != GATEWISE_RELU && activation != GATEWISE_ELU && activation != GATEWISE_LINEAR;
}

Case random_case(uint64_t seed) {
  Random random(seed);
  Case given{};
  given.seed = seed;
  do {
    given.batch = kOdd[random.below(12)];
    given.steps = kOdd[random.below(12)];
    given.features = kOdd[random.below(12)];
    given.units = kOdd[random.below(12)];
  } while (given.batch * given.steps * given.units * (given.features + given.units) > 400000);
  if (random.one_in(3)) {
    given.count = 2;
    given.second_units = random.one_in(3) ? kOdd[random.below(12)] : given.units;
  }
  given.bias = !random.one_in(4);
  given.h0 = random.one_in(2);
  given.c0 = random.one_in(2);
  given.input_masks = random.one_in(3);
  given.recurrent_masks = random.one_in(3);
  given.go_backwards = random.one_in(2);
  given.zero_output = random.one_in(2);
  given.start_output = random.one_in(2);
  given.dy = !random.one_in(5);
  given.dh = !random.one_in(3);
  given.dc = !random.one_in(3);
  given.mask = static_cast<int>(random.below(kMasks));
  given.layout = static_cast<int>(random.below(kLayouts));
  if (random.one_in(2)) {
    given.activation = static_cast<int32_t>(random.below(7));
    given.recurrent_activation = static_cast<int32_t>(random.below(7));
    // States without a bounded activation overflow within a few more steps.
    if (!bounded(given.activation) || !bounded(given.recurrent_activation)) {
      given.steps = std::min<int64_t>(given.steps, 7);
    }
  }
  if (random.one_in(3)) given.unwanted = static_cast<unsigned>(random.below(1 << 13));
  return given;
}

// Each size combined with small ones, because loops over blocks fail at their ends.
void check_every_size() {
  for (const int64_t size : kOdd) {
    for (int place = 0; place < 4; ++place) {
      Case given{3, 3, 5, 5};
      given.seed = static_cast<uint64_t>(size * 4 + place);
      (place == 0   ? given.batch
       : place == 1 ? given.steps
       : place == 2 ? given.features
                    : given.units) = size;
      given.mask = static_cast<int>(size % kMasks);
      check_all(given);
    }
  }
}

// Few rows or many units: threads share the units of one layer and wait for each other.
void check_wide_layers() {
  for (const int64_t batch : {1, 2, 5, 40}) {
    Case given{batch, 5, 33, 300};
    given.seed = static_cast<uint64_t>(batch);
    given.count = batch % 2 ? 1 : 2;
    given.second_units = 257;
    given.mask = kHoles;
    given.recurrent_masks = batch > 1;
    check_all(given);
  }
}

void check_every_pair_of_activations() {
  for (int32_t pair = 0; pair < 49; ++pair) {
    Case given{5, 7, 3, 17};
    given.seed = static_cast<uint64_t>(pair);
    given.activation = pair / 7;
    given.recurrent_activation = pair % 7;
    given.mask = kHoles;
    check_all(given);
  }
}

void check_strange_numbers() {
  for (const int contents : {kSaturated, kNaN, kInfinite, kNaNGradient}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Case given = random_case(seed);
      given.contents = contents;
      given.features |= 1;
      given.unwanted = 0;
      given.dy = true;
      given.activation = GATEWISE_TANH;
      given.recurrent_activation = seed % 2 ? GATEWISE_SIGMOID : GATEWISE_HARD_SIGMOID;
      // NaN times zero is NaN, so dropout has no defined result here.
      given.input_masks = given.recurrent_masks = false;
      check_all(given);
    }
  }
}

// Compares the gradients of naive.cpp with finite differences of its own outputs.
void check_the_truth_itself() {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Case given = random_case(seed);
    given.batch = 2, given.steps = 4, given.features = 2, given.units = 3;
    given.count = 1;
    given.unwanted = 0;
    given.dy = given.dh = given.dc = given.h0 = given.c0 = given.bias = true;
    Call<double> call(given);
    Inputs<double>& in = call.inputs[0];
    const Written<double> truth = run(call, kNaive);  // y h c dx dh0 dc0 dkernel drecurrent dbias
    const auto loss = [&] {
      const Written<double> out = run(call, kNaive);
      double sum = 0;
      const Array<double>* weights[] = {&call.dy, &in.dh, &in.dc};
      for (int part = 0; part < 3; ++part) {
        for (int64_t n = 0; n < weights[part]->size(); ++n) {
          if (!out[part].second.is_untouched(n)) {
            sum += (*weights[part])[n] * out[part].second[n];
          }
        }
      }
      return sum;
    };
    Array<double>* varied[] = {&in.x, &in.h0, &in.c0, &in.kernel, &in.recurrent_kernel, &in.bias};
    for (int part = 0; part < 6; ++part) {
      for (int64_t n = 0; n < varied[part]->size(); ++n) {
        double& number = (*varied[part])[n];
        const double before = number, step = 1e-5;
        number = before + step;
        const double above = loss();
        number = before - step;
        const double slope = (above - loss()) / (2 * step);
        number = before;
        const auto& [name, gradient] = truth[3 + part];
        if (std::fabs(slope - gradient[n]) > 1e-6 * (1 + std::fabs(slope))) {
          fail("naive.cpp: " + name + "[" + std::to_string(n) + "] is " + text(gradient[n]) +
               ", and by differences " + text(slope) + ": " + given.describe(true));
        }
      }
    }
  }
}

// A stack of layers, and three steps of it.
struct Stack {
  static constexpr int64_t kSteps = 3;
  int64_t batch, features, sum = 0;
  std::vector<Inputs<float>> weights;  // of their arrays, the weights alone
  std::vector<gatewise_cell> layers;
  Array<float> x, h, c;  // [steps, batch, features], [batch, sum of units] twice

  static Stack random(uint64_t seed) {
    Random random(seed);
    Case given{kOdd[random.below(12)], 1, kOdd[random.below(12)], 1};
    given.activation = seed % 3 ? GATEWISE_TANH : GATEWISE_SOFTSIGN;
    given.recurrent_activation = seed % 4 ? GATEWISE_SIGMOID : GATEWISE_HARD_SIGMOID;
    return Stack(given, random);
  }

  // The states after all steps, h beside c, from single steps.
  Array<float> step(int32_t kind) {
    gatewise_cells* cells = nullptr;
    const auto count = static_cast<int32_t>(layers.size());
    expect_done(gatewise_cells_pack(layers.data(), count, kind, &cells), describe());
    Array<float> h_now = h, c_now = c, both(2 * batch * sum);
    for (int64_t t = 0; t < kSteps; ++t) {
      Array<float> h_next(batch * sum), c_next(batch * sum);
      const gatewise_states states{x.data() + t * batch * features, h_now.data(), c_now.data(),
                                   h_next.data(), c_next.data()};
      expect_done(gatewise_cells_step(cells, batch, &states), describe());
      if (!h_next.guards_are_whole() || !c_next.guards_are_whole()) {
        fail("written beyond the states: " + describe());
      }
      h_now = h_next, c_now = c_next;
    }
    gatewise_cells_free(cells);
    for (int64_t n = 0; n < batch * sum; ++n) both[n] = h_now[n], both[batch * sum + n] = c_now[n];
    return both;
  }

  // The same from whole sequences, layer by layer.
  template <class Forward>
  Array<float> run(Forward forward) {
    Array<float> both(2 * batch * sum), inputs(batch * kSteps * features);
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t t = 0; t < kSteps; ++t) {
        for (int64_t i = 0; i < features; ++i) {
          inputs[(b * kSteps + t) * features + i] = x[(t * batch + b) * features + i];
        }
      }
    }
    int64_t from = 0;
    for (const gatewise_cell& cell : layers) {
      Array<float> h0(batch * cell.units), c0 = h0, h1 = h0, c1 = h0;
      Array<float> y(batch * kSteps * cell.units);
      for (int64_t n = 0; n < batch * cell.units; ++n) {
        const int64_t place = n / cell.units * sum + from + n % cell.units;
        h0[n] = h[place], c0[n] = c[place];
      }
      gatewise_lstm layer{};
      layer.batch = batch, layer.steps = kSteps;
      layer.features = cell.features, layer.units = cell.units;
      layer.activation = cell.activation, layer.recurrent_activation = cell.recurrent_activation;
      layer.x = inputs.data(), layer.h0 = h0.data(), layer.c0 = c0.data();
      layer.kernel = cell.kernel, layer.recurrent_kernel = cell.recurrent_kernel;
      layer.bias = cell.bias;
      layer.y = y.data();
      layer.y_batch_stride = kSteps * cell.units, layer.y_step_stride = cell.units;
      layer.h = h1.data(), layer.c = c1.data();
      forward(&layer);
      for (int64_t n = 0; n < batch * cell.units; ++n) {
        const int64_t place = n / cell.units * sum + from + n % cell.units;
        both[place] = h1[n], both[batch * sum + place] = c1[n];
      }
      inputs = y;
      from += cell.units;
    }
    return both;
  }

  // Rounds the weights as GATEWISE_INT8 does.
  void round() {
    for (size_t n = 0; n < layers.size(); ++n) {
      round_columns(weights[n].kernel, layers[n].features);
      round_columns(weights[n].recurrent_kernel, layers[n].units);
    }
  }

  std::string describe() const {
    std::string said = "steps of B=" + std::to_string(batch) + " I=" + std::to_string(features);
    for (const gatewise_cell& cell : layers) said += " H=" + std::to_string(cell.units);
    return said;
  }

 private:
  Stack(Case given, Random& random)
      : batch(given.batch), features(given.features), x(0), h(0), c(0) {
    const int64_t count = 1 + random.below(3);
    weights.reserve(static_cast<size_t>(count));
    for (int64_t n = 0; n < count; ++n) {
      const int64_t units = kOdd[random.below(12)];
      weights.emplace_back(given, units, random);
      Inputs<float>& in = weights.back();
      layers.push_back({given.features, units, given.activation, given.recurrent_activation,
                        in.kernel.data(), in.recurrent_kernel.data(),
                        random.one_in(4) ? nullptr : in.bias.data()});
      given.features = units;
      sum += units;
    }
    x = Array<float>(kSteps * batch * features);
    h = Array<float>(batch * sum), c = h;
    x.fill(random, 2), h.fill(random, 1), c.fill(random, 1);
  }

  static void round_columns(Array<float>& matrix, int64_t rows) {
    const int64_t columns = matrix.size() / rows;
    for (int64_t column = 0; column < columns; ++column) {
      float most = 0;
      for (int64_t k = 0; k < rows; ++k) {
        most = std::fmax(most, std::fabs(matrix[k * columns + column]));
      }
      const float scale = most > 0 ? most / 127 : 1;
      for (int64_t k = 0; k < rows; ++k) {
        float& weight = matrix[k * columns + column];
        weight = std::nearbyint(weight / scale) * scale;
      }
    }
  }
};

void check_steps() {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Stack stack = Stack::random(seed);
    const Array<float> steps = stack.step(GATEWISE_FLOAT32);
    const Array<float> whole =
        stack.run([](gatewise_lstm* layer) { gatewise_lstm_forward(layer, 1); });
    if (!(steps == whole)) fail("single steps differ from whole sequences: " + stack.describe());
    const Array<float> rough = stack.step(GATEWISE_INT8);
    const auto expect_all_near = [&](const Array<float>& one, const char* what) {
      const Array<float> truth = stack.run([](gatewise_lstm* layer) { naive_forward(layer, 1); });
      for (int64_t n = 0; n < truth.size(); ++n) {
        if (!(std::fabs(one[n] - truth[n]) <= 3e-5 * std::fmax(1.0f, std::fabs(truth[n])))) {
          fail(what + (" [" + std::to_string(n) + "] is ") + text(one[n]) + ", and should be " +
               text(truth[n]) + ": " + stack.describe());
        }
      }
    };
    expect_all_near(steps, "a state after steps");
    stack.round();
    expect_all_near(rough, "a state after steps with weights of 8 bits");
  }
}

void check_arguments_of_steps() {
  float numbers[4] = {}, next[2];
  const gatewise_cell right{1, 1, GATEWISE_TANH, GATEWISE_SIGMOID, numbers, numbers, nullptr};
  gatewise_cells* cells = nullptr;
  const auto refuse = [&](const char* what, int32_t count, int32_t kind, auto spoil) {
    gatewise_cell wrong[] = {right, right};
    spoil(wrong);
    if (gatewise_cells_pack(wrong, count, kind, &cells) != GATEWISE_BAD_ARGUMENT || cells) {
      fail(std::string(what) + " is not refused");
    }
  };
  refuse("no layer", 0, GATEWISE_FLOAT32, [](gatewise_cell*) {});
  refuse("an unknown kind of weights", 1, 2, [](gatewise_cell*) {});
  refuse("no unit", 1, GATEWISE_INT8, [](gatewise_cell* cell) { cell->units = 0; });
  refuse("no kernel", 1, GATEWISE_INT8, [](gatewise_cell* cell) { cell->kernel = nullptr; });
  refuse("activation 9", 1, GATEWISE_INT8, [](gatewise_cell* cell) { cell->activation = 9; });
  refuse("a layer that reads 2 features of 1 unit", 2, GATEWISE_FLOAT32,
         [](gatewise_cell* cell) { cell[1].features = 2; });
  expect_done(gatewise_cells_pack(&right, 1, GATEWISE_FLOAT32, &cells), "the smallest cell");
  const gatewise_states states{numbers, numbers, numbers, next, nullptr};
  if (gatewise_cells_step(cells, 1, &states) != GATEWISE_BAD_ARGUMENT ||
      gatewise_cells_step(cells, 0, &states) != GATEWISE_BAD_ARGUMENT ||
      gatewise_cells_step(nullptr, 1, &states) != GATEWISE_BAD_ARGUMENT) {
    fail("a step without cells, rows or arrays is not refused");
  }
  gatewise_cells_free(cells);
  gatewise_cells_free(nullptr);
}

void check_arguments() {
  float x[1] = {}, weights[4] = {}, h[1];
  gatewise_lstm right{};
  right.batch = right.steps = right.features = right.units = 1;
  right.x = x;
  right.kernel = right.recurrent_kernel = weights;
  right.h = h;
  right.recurrent_activation = GATEWISE_SIGMOID;
  expect_done(gatewise_lstm_forward(&right, 1), "the smallest layer");
  const auto refuse = [&](const char* what, auto spoil) {
    gatewise_lstm wrong = right;
    spoil(wrong);
    if (gatewise_lstm_forward(&wrong, 1) != GATEWISE_BAD_ARGUMENT) {
      fail(std::string(what) + " is not refused");
    }
  };
  refuse("an empty batch", [](gatewise_lstm& layer) { layer.batch = 0; });
  refuse("no step", [](gatewise_lstm& layer) { layer.steps = 0; });
  refuse("no feature", [](gatewise_lstm& layer) { layer.features = 0; });
  refuse("-1 units", [](gatewise_lstm& layer) { layer.units = -1; });
  refuse("unknown products", [](gatewise_lstm& layer) { layer.products = 7; });
  refuse("products of bfloat16 in double precision", [](gatewise_lstm& layer) {
    layer.double_precision = 1;
    layer.products = GATEWISE_BFLOAT16;
  });
  refuse("activation 7", [](gatewise_lstm& layer) { layer.activation = 7; });
  refuse("activation -1", [](gatewise_lstm& layer) { layer.recurrent_activation = -1; });
  refuse("no x", [](gatewise_lstm& layer) { layer.x = nullptr; });
  refuse("no kernel", [](gatewise_lstm& layer) { layer.kernel = nullptr; });
  refuse("no recurrent kernel", [](gatewise_lstm& layer) { layer.recurrent_kernel = nullptr; });
  gatewise_gradient gradient{};
  if (gatewise_lstm_backward(&right, &gradient, 1) != GATEWISE_BAD_ARGUMENT) {
    fail("a backward pass without a reserve is not refused");
  }
}

void check_threads() {
  gatewise_set_threads(0);
  const int32_t at_first = gatewise_threads();
  if (at_first < 1) fail("at first there are " + std::to_string(at_first) + " threads");
  gatewise_set_threads(3);
  if (gatewise_threads() != 3) fail("3 threads were set, but gatewise_threads() does not return 3");
  gatewise_set_threads(-1);
  if (gatewise_threads() != at_first) fail("-1 does not go back to the first number of threads");
}

// A call large enough for a team of threads.
Case large_case(uint64_t seed) {
  Case given{33, 15, 17, 64};
  given.seed = seed;
  given.count = 2;
  given.second_units = 64;
  given.mask = kRight;
  return given;
}

void check_calls_at_once() {
  gatewise_set_threads(3);
  Call<float> first(large_case(1));
  Call<double> second(large_case(2));
  const Written<float> first_alone = run(first, kLibrary);
  const Written<double> second_alone = run(second, kLibrary);
  std::thread other([&] {
    for (int n = 0; n < 10; ++n) {
      expect_same(run(second, kLibrary), second_alone, "a call alone and beside another one");
    }
  });
  for (int n = 0; n < 10; ++n) {
    expect_same(run(first, kLibrary), first_alone, "a call alone and beside another one");
  }
  other.join();
}

// The thread sanitizer does not support threads that start after a fork.
#ifdef __SANITIZE_THREAD__
constexpr bool kRacesAreWatched = true;
#else
constexpr bool kRacesAreWatched = false;
#endif

void check_fork() {
  gatewise_set_threads(3);
  Call<float> call(large_case(3));
  const Written<float> before = run(call, kLibrary);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a child that waits for its parent's threads waits forever
    expect_same(run(call, kLibrary), before, "a process and its forked child");
    std::_Exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
    fail("a forked child does not answer");
  }
  expect_same(run(call, kLibrary), before, "a process before and after it forked");
}

}  // namespace

int main(int argc, char** argv) {
  if (gatewise_version() != GATEWISE_VERSION) fail("the library has another version");
  if (argc > 1 && std::strcmp(argv[1], gatewise_isa()) != 0) {
    std::printf("check: this machine runs %s, not %s\n", gatewise_isa(), argv[1]);
    return 77;
  }
  const uint64_t cases = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 200;
  check_the_truth_itself();
  check_arguments();
  check_arguments_of_steps();
  check_steps();
  check_threads();
  check_every_size();
  check_wide_layers();
  check_every_pair_of_activations();
  check_strange_numbers();
  for (uint64_t seed = 0; seed < cases; ++seed) check_all(random_case(seed));
  check_calls_at_once();
  if (!kRacesAreWatched) check_fork();
  std::printf("check: all tests passed with %s\n", gatewise_isa());
}
