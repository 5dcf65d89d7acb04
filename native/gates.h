// The activations of the gates, and their derivatives.

#ifndef GATEWISE_GATES_H_
#define GATEWISE_GATES_H_

#include "gatewise.h"
#include "simd.h"

namespace gatewise::GATEWISE_ISA {

template <class T>
Vector<T> activate(int32_t activation, Vector<T> x) {
  switch (activation) {
    case GATEWISE_TANH:
      return hyperbolic_tangent<T>(x);
    case GATEWISE_SIGMOID:
      return sigmoid<T>(x);
    case GATEWISE_RELU:
      return at_least(x, T(0));
    case GATEWISE_HARD_SIGMOID:
      return at_most(at_least<T>(x + T(3), T(0)), T(6)) * T(1.0 / 6);
    case GATEWISE_SOFTSIGN:
      return x / (T(1) + (x < T(0) ? -x : x));
    case GATEWISE_ELU:
      return x > T(0) ? x : exponential_minus_1<T>(at_least(at_most(x, T(0)), T(-80)));
    default:
      return x;
  }
}

// The derivative of an activation at x, whose value is y; computed from y if that is exact.
template <class T>
Vector<T> derivative(int32_t activation, Vector<T> x, Vector<T> y) {
  const Vector<T> one = all(T(1)), zero = Vector<T>{};
  switch (activation) {
    case GATEWISE_TANH:
      return one - y * y;
    case GATEWISE_SIGMOID:
      return y * (one - y);
    case GATEWISE_RELU:
      return y > zero ? one : zero;
    case GATEWISE_HARD_SIGMOID:
      return ((y > zero) & (y < one)) ? all(T(1.0 / 6)) : zero;
    case GATEWISE_SOFTSIGN: {
      const Vector<T> root = one / (one + (x < zero ? -x : x));
      return root * root;
    }
    case GATEWISE_ELU:
      return y > zero ? one : y + one;
    default:
      return one;
  }
}

// The two activations of a layer. Keras's default pair, tanh and sigmoid, is compiled in (kUsual);
// other pairs are selected at run time.
struct Gates {
  int32_t activation, recurrent_activation;

  bool usual() const {
    return activation == GATEWISE_TANH && recurrent_activation == GATEWISE_SIGMOID;
  }
  template <bool kUsual, class T>
  GATEWISE_INLINE Vector<T> cell(Vector<T> x) const {
    return kUsual ? hyperbolic_tangent<T>(x) : activate<T>(activation, x);
  }
  template <bool kUsual, class T>
  GATEWISE_INLINE Vector<T> gate(Vector<T> x) const {
    return kUsual ? sigmoid<T>(x) : activate<T>(recurrent_activation, x);
  }
  template <bool kUsual, class T>
  GATEWISE_INLINE Vector<T> cell_derivative(Vector<T> x, Vector<T> y) const {
    return kUsual ? T(1) - y * y : derivative<T>(activation, x, y);
  }
  template <bool kUsual, class T>
  GATEWISE_INLINE Vector<T> gate_derivative(Vector<T> x, Vector<T> y) const {
    return kUsual ? y * (T(1) - y) : derivative<T>(recurrent_activation, x, y);
  }
};

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_GATES_H_
