#include "naive.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

namespace {

// The type in which numbers of type T are computed.
template <class T>
struct Wider {
  using type = double;
};
template <>
struct Wider<double> {
  using type = long double;
};

// NaN propagates through every branch.
template <class W>
W activate(int32_t activation, W x) {
  switch (activation) {
    case GATEWISE_TANH:
      return std::tanh(x);
    case GATEWISE_SIGMOID:
      return 1 / (1 + std::exp(-x));
    case GATEWISE_RELU:
      return x < 0 ? 0 : x;
    case GATEWISE_HARD_SIGMOID:
      return x < -3 ? 0 : x > 3 ? 1 : x / 6 + W(0.5);
    case GATEWISE_SOFTSIGN:
      return x / (1 + std::fabs(x));
    case GATEWISE_ELU:
      return x < 0 ? std::expm1(x) : x;
    default:
      return x;
  }
}

template <class W>
W slope(int32_t activation, W x) {
  const W y = activate(activation, x);
  switch (activation) {
    case GATEWISE_TANH:
      return 1 - y * y;
    case GATEWISE_SIGMOID:
      return y * (1 - y);
    case GATEWISE_RELU:
      return x > 0 ? 1 : 0;
    case GATEWISE_HARD_SIGMOID:
      return std::fabs(x) < 3 ? W(1) / 6 : 0;
    case GATEWISE_SOFTSIGN:
      return 1 / ((1 + std::fabs(x)) * (1 + std::fabs(x)));
    case GATEWISE_ELU:
      return x < 0 ? std::exp(x) : 1;
    default:
      return 1;
  }
}

// One sequence of a layer. Steps are numbered in the processing order.
template <class T>
class Sequence {
 public:
  using W = typename Wider<T>::type;

  Sequence(const gatewise_lstm& layer, int64_t row)
      : layer_(layer),
        row_(row),
        units_(layer.units),
        h_((layer.steps + 1) * units_),
        c_((layer.steps + 1) * units_),
        z_(layer.steps * 4 * units_) {
    for (int64_t u = 0; u < units_; ++u) {
      if (layer.h0) h_[u] = at(layer.h0, row * units_ + u);
      if (layer.c0) c_[u] = at(layer.c0, row * units_ + u);
    }
    for (int64_t s = 0; s < layer.steps; ++s) {
      if (masked(s)) {
        for (int64_t u = 0; u < units_; ++u) {
          h_[(s + 1) * units_ + u] = h_[s * units_ + u];
          c_[(s + 1) * units_ + u] = c_[s * units_ + u];
        }
      } else {
        step(s);
      }
    }
  }

  void write_outputs() const {
    bool started = false;
    for (int64_t s = 0; s < layer_.steps; ++s) {
      started = started || !masked(s);
      const bool zero = masked(s) && (layer_.zero_output || (!started && !layer_.start_output));
      for (int64_t u = 0; layer_.y && u < units_; ++u) {
        const W y = zero ? 0 : h_[(s + 1) * units_ + u];
        static_cast<T*>(layer_.y)[row_ * layer_.y_batch_stride + s * layer_.y_step_stride + u] =
            static_cast<T>(y);
      }
    }
    for (int64_t u = 0; u < units_; ++u) {
      const int64_t last = layer_.steps * units_ + u;
      if (layer_.h) static_cast<T*>(layer_.h)[row_ * units_ + u] = static_cast<T>(h_[last]);
      if (layer_.c) static_cast<T*>(layer_.c)[row_ * units_ + u] = static_cast<T>(c_[last]);
    }
  }

  // Writes dx, dh0 and dc0 of this sequence, and adds to the gradients of the weights.
  void propagate(const gatewise_gradient& gradient, std::vector<W>& dkernel,
                 std::vector<W>& drecurrent_kernel, std::vector<W>& dbias) const {
    std::vector<W> dh(units_), dc(units_);
    for (int64_t u = 0; u < units_; ++u) {
      if (gradient.dh) dh[u] = at(gradient.dh, row_ * units_ + u);
      if (gradient.dc) dc[u] = at(gradient.dc, row_ * units_ + u);
    }
    for (int64_t s = layer_.steps - 1; s >= 0; --s) {
      if (gradient.dy && output_is_state(s)) {
        for (int64_t u = 0; u < units_; ++u) {
          dh[u] +=
              at(gradient.dy, row_ * gradient.dy_batch_stride + s * gradient.dy_step_stride + u);
        }
      }
      std::vector<W> dx(layer_.features);
      if (!masked(s)) step_back(s, dh, dc, dx, dkernel, drecurrent_kernel, dbias);
      for (int64_t i = 0; gradient.dx && i < layer_.features; ++i) {
        static_cast<T*>(gradient.dx)[input(s) + i] = static_cast<T>(dx[i]);
      }
    }
    for (int64_t u = 0; u < units_; ++u) {
      if (gradient.dh0) static_cast<T*>(gradient.dh0)[row_ * units_ + u] = static_cast<T>(dh[u]);
      if (gradient.dc0) static_cast<T*>(gradient.dc0)[row_ * units_ + u] = static_cast<T>(dc[u]);
    }
  }

 private:
  static W at(const void* array, int64_t index) { return static_cast<const T*>(array)[index]; }

  int64_t time(int64_t s) const { return layer_.go_backwards ? layer_.steps - 1 - s : s; }
  int64_t input(int64_t s) const { return (row_ * layer_.steps + time(s)) * layer_.features; }
  bool masked(int64_t s) const {
    return layer_.mask && !layer_.mask[row_ * layer_.steps + time(s)];
  }
  bool output_is_state(int64_t s) const {
    if (!masked(s)) return true;
    if (layer_.zero_output) return false;
    if (layer_.start_output) return true;
    for (int64_t before = 0; before < s; ++before) {
      if (!masked(before)) return true;
    }
    return false;
  }
  // A factor of a product: rounded to bfloat16, half way to even, if the layer says so. bfloat16
  // keeps seven bits of the fraction; a carry out of the fraction rightly enters the exponent.
  // Layers of double never round.
  W operand(W number) const {
    if constexpr (std::is_same_v<W, double>) {
      if (layer_.products != GATEWISE_BFLOAT16 || !std::isfinite(number)) return number;
      constexpr int dropped = std::numeric_limits<double>::digits - 8;
      uint64_t bits;
      std::memcpy(&bits, &number, sizeof bits);
      bits += ((uint64_t{1} << (dropped - 1)) - 1) + ((bits >> dropped) & 1);
      bits &= ~((uint64_t{1} << dropped) - 1);
      std::memcpy(&number, &bits, sizeof number);
    }
    return number;
  }
  W input_mask(int64_t gate, int64_t i) const {
    if (!layer_.input_masks) return 1;
    return at(layer_.input_masks, (gate * layer_.batch + row_) * layer_.features + i);
  }
  W recurrent_mask(int64_t gate, int64_t u) const {
    if (!layer_.recurrent_masks) return 1;
    return at(layer_.recurrent_masks, (gate * layer_.batch + row_) * units_ + u);
  }

  void step(int64_t s) {
    const W* h = &h_[s * units_];
    const W* c = &c_[s * units_];
    W* z = &z_[s * 4 * units_];
    for (int64_t n = 0; n < 4 * units_; ++n) {
      const int64_t gate = n / units_;
      z[n] = layer_.bias ? at(layer_.bias, n) : 0;
      for (int64_t i = 0; i < layer_.features; ++i) {
        z[n] += operand(at(layer_.x, input(s) + i) * input_mask(gate, i)) *
                operand(at(layer_.kernel, i * 4 * units_ + n));
      }
      for (int64_t u = 0; u < units_; ++u) {
        z[n] += operand(h[u] * recurrent_mask(gate, u)) *
                operand(at(layer_.recurrent_kernel, u * 4 * units_ + n));
      }
    }
    for (int64_t u = 0; u < units_; ++u) {
      const W i = gate(z[u]), f = gate(z[units_ + u]), o = gate(z[3 * units_ + u]);
      const W g = cell(z[2 * units_ + u]);
      c_[(s + 1) * units_ + u] = f * c[u] + i * g;
      h_[(s + 1) * units_ + u] = o * cell(c_[(s + 1) * units_ + u]);
    }
  }

  // Propagates dh and dc from after step s to before it.
  void step_back(int64_t s, std::vector<W>& dh, std::vector<W>& dc, std::vector<W>& dx,
                 std::vector<W>& dkernel, std::vector<W>& drecurrent_kernel,
                 std::vector<W>& dbias) const {
    const W* h = &h_[s * units_];
    const W* c = &c_[s * units_];
    const W* z = &z_[s * 4 * units_];
    std::vector<W> dz(4 * units_);
    for (int64_t u = 0; u < units_; ++u) {
      const W zi = z[u], zf = z[units_ + u], zg = z[2 * units_ + u], zo = z[3 * units_ + u];
      const W after = c_[(s + 1) * units_ + u];
      dc[u] += dh[u] * gate(zo) * slope(layer_.activation, after);
      dz[u] = dc[u] * cell(zg) * slope(layer_.recurrent_activation, zi);
      dz[units_ + u] = dc[u] * c[u] * slope(layer_.recurrent_activation, zf);
      dz[2 * units_ + u] = dc[u] * gate(zi) * slope(layer_.activation, zg);
      dz[3 * units_ + u] = dh[u] * cell(after) * slope(layer_.recurrent_activation, zo);
      dc[u] *= gate(zf);
    }
    dh.assign(units_, 0);
    for (int64_t n = 0; n < 4 * units_; ++n) {
      const int64_t gate = n / units_;
      dbias[n] += dz[n];
      for (int64_t i = 0; i < layer_.features; ++i) {
        const int64_t weight = i * 4 * units_ + n;
        dx[i] += operand(dz[n]) * operand(at(layer_.kernel, weight)) * input_mask(gate, i);
        dkernel[weight] +=
            operand(dz[n]) * operand(at(layer_.x, input(s) + i) * input_mask(gate, i));
      }
      for (int64_t u = 0; u < units_; ++u) {
        const int64_t weight = u * 4 * units_ + n;
        dh[u] +=
            operand(dz[n]) * operand(at(layer_.recurrent_kernel, weight)) * recurrent_mask(gate, u);
        drecurrent_kernel[weight] += operand(dz[n]) * operand(h[u] * recurrent_mask(gate, u));
      }
    }
  }

  W gate(W z) const { return activate(layer_.recurrent_activation, z); }
  W cell(W z) const { return activate(layer_.activation, z); }

  const gatewise_lstm& layer_;
  const int64_t row_, units_;
  std::vector<W> h_, c_;  // [T + 1, H] the state before each step, and after the last
  std::vector<W> z_;      // [T, 4H]
};

template <class T>
void forward(const gatewise_lstm& layer) {
  for (int64_t row = 0; row < layer.batch; ++row) Sequence<T>(layer, row).write_outputs();
}

template <class T, class W>
void write(void* to, const std::vector<W>& from) {
  for (size_t n = 0; to && n < from.size(); ++n) static_cast<T*>(to)[n] = static_cast<T>(from[n]);
}

template <class T>
void backward(const gatewise_lstm& layer, const gatewise_gradient& gradient) {
  using W = typename Wider<T>::type;
  std::vector<W> dkernel(layer.features * 4 * layer.units);
  std::vector<W> drecurrent_kernel(layer.units * 4 * layer.units);
  std::vector<W> dbias(4 * layer.units);
  for (int64_t row = 0; row < layer.batch; ++row) {
    Sequence<T>(layer, row).propagate(gradient, dkernel, drecurrent_kernel, dbias);
  }
  write<T>(gradient.dkernel, dkernel);
  write<T>(gradient.drecurrent_kernel, drecurrent_kernel);
  write<T>(gradient.dbias, dbias);
}

}  // namespace

void naive_forward(const gatewise_lstm* layers, int32_t count) {
  for (int32_t n = 0; n < count; ++n) {
    layers[n].double_precision ? forward<double>(layers[n]) : forward<float>(layers[n]);
  }
}

void naive_backward(const gatewise_lstm* layers, const gatewise_gradient* gradients,
                    int32_t count) {
  for (int32_t n = 0; n < count; ++n) {
    layers[n].double_precision ? backward<double>(layers[n], gradients[n])
                               : backward<float>(layers[n], gradients[n]);
  }
}
