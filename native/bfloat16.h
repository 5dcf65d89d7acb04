// bfloat16, the upper half of a float, as the operands of products whose sums are floats. Two terms
// of a sum are multiplied and added at a time, by vdpbf16ps of AVX512-BF16 or, with the same bits
// as the result, by plain instructions.

#ifndef GATEWISE_BFLOAT16_H_
#define GATEWISE_BFLOAT16_H_

#include <type_traits>

#include "simd.h"

namespace gatewise::GATEWISE_ISA {

// Two consecutive terms of a sum; the first is in the lower half.
struct Pair {
  uint32_t bits;
};
template <>
struct VectorOf<Pair> {
  typedef uint32_t type __attribute__((vector_size(kBytes)));
};

// The same with about twice the digits: the rounded terms, and what rounding took from them.
struct SplitPair {
  Pair high, low;
};
template <>
struct VectorOf<SplitPair> {
  struct type {
    Vector<Pair> high, low;
  };
};
template <>
inline constexpr int kWidth<SplitPair> = kWidth<Pair>;

GATEWISE_INLINE Vector<Pair> all(Pair value) { return value.bits - Vector<Pair>{}; }

// Rounded to the nearest bfloat16, ties to even; it is in the upper half, and the lower half is 0.
GATEWISE_INLINE Vector<Pair> round_to_bfloat16(Vector<float> x) {
  const Vector<Pair> bits = (Vector<Pair>)x;
  const Vector<Pair> rounded = bits + 0x7fff + (bits >> 16 & 1);
  const Vector<Pair> quiet = bits | 0x400000;  // rounding could turn a NaN into infinity
  return (x == x ? rounded : quiet) & 0xffff0000;
}

GATEWISE_INLINE Vector<SplitPair> all(SplitPair value) { return {all(value.high), all(value.low)}; }

// What rounding takes from x; nothing from infinity.
GATEWISE_INLINE Vector<float> remainder(Vector<float> x) {
  const Vector<float> rest = x - (Vector<float>)round_to_bfloat16(x);
  return rest == rest ? rest : Vector<float>{};
}

// The pairs (first[n], second[n]).
GATEWISE_INLINE Vector<Pair> interleave(Vector<float> first, Vector<float> second) {
#if defined(__AVX512BF16__)
  const __m512i order = (__m512i)(Vector<Pair>{
      0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007,  //
      0x180008, 0x190009, 0x1a000a, 0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f});
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  return (Vector<Pair>)_mm512_permutexvar_epi16(order, halves);
#else
  return round_to_bfloat16(first) >> 16 | round_to_bfloat16(second);
#endif
}

// Stores the pairs of neighbours, (x[0], x[1]), (x[2], x[3]) and so on: half a vector of them.
GATEWISE_INLINE void store_neighbours(Pair* to, Vector<float> x) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh((__m512)x));
#elif defined(__AVX512F__)
  const __m512i rounded = (__m512i)(round_to_bfloat16(x) >> 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_maskz_cvtepi32_epi16(0xffff, rounded));
#else
  const Vector<Pair> rounded = round_to_bfloat16(x);
  for (int n = 0; n < kWidth<float>; n += 2) to[n / 2].bits = rounded[n] >> 16 | rounded[n + 1];
#endif
}

GATEWISE_INLINE void store_neighbours(SplitPair* to, Vector<float> x) {
  constexpr int kPairs = kWidth<float> / 2;
  Pair high[kPairs], low[kPairs];
  store_neighbours(high, x);
  store_neighbours(low, remainder(x));
  for (int n = 0; n < kPairs; ++n) to[n] = {high[n], low[n]};
}

// z + the sum of the two products, the second of which is added first.
GATEWISE_INLINE Vector<float> add_products(Vector<Pair> x, Vector<Pair> y, Vector<float> z) {
#if defined(__AVX512BF16__)
  return (Vector<float>)_mm512_dpbf16_ps((__m512)z, (__m512bh)x, (__m512bh)y);
#else
  const Vector<float> second =
      fused<float>((Vector<float>)(x & 0xffff0000), (Vector<float>)(y & 0xffff0000), z);
  return fused<float>((Vector<float>)(x << 16), (Vector<float>)(y << 16), second);
#endif
}
// Without the product of the two lower parts, which is below half an ulp of a float.
GATEWISE_INLINE Vector<float> add_products(Vector<SplitPair> x, Vector<SplitPair> y,
                                           Vector<float> z) {
  const Vector<float> lower = add_products(x.low, y.high, add_products(x.high, y.low, z));
  return add_products(x.high, y.high, lower);
}
GATEWISE_INLINE Vector<float> add_products(Vector<float> x, Vector<float> y, Vector<float> z) {
  return fused<float>(x, y, z);
}
GATEWISE_INLINE Vector<double> add_products(Vector<double> x, Vector<double> y, Vector<double> z) {
  return fused<double>(x, y, z);
}

// What the operands of a product hold: the number type of the sum, or pairs.
template <class S>
struct Operand {
  using Sum = S;
  static constexpr int kTerms = 1;  // of the sum
};
template <>
struct Operand<Pair> {
  using Sum = float;
  static constexpr int kTerms = 2;
};
template <>
struct Operand<SplitPair> : Operand<Pair> {};
template <class S>
using Sum = typename Operand<S>::Sum;
template <class S>
constexpr int kTerms = Operand<S>::kTerms;

// Operands for this many terms; the last one is filled up with zero.
template <class S>
int64_t operands(int64_t terms) {
  return (terms + kTerms<S> - 1) / kTerms<S>;
}

// The operands at terms k, k + 1 ... of a right factor whose rows are terms: row(k) is a vector.
template <class S, class Row>
GATEWISE_INLINE Vector<S> take_terms(int64_t k, int64_t terms, Row row) {
  if constexpr (kTerms<S> == 1) {
    return row(k);
  } else {
    const Vector<float> first = row(k), second = k + 1 < terms ? row(k + 1) : Vector<float>{};
    if constexpr (std::is_same_v<S, Pair>) return interleave(first, second);
    if constexpr (std::is_same_v<S, SplitPair>) {
      return {interleave(first, second), interleave(remainder(first), remainder(second))};
    }
  }
}

// Stores a vector of terms of a left factor as operands, `kWidth / kTerms` of them.
template <class S>
GATEWISE_INLINE void store_terms(S* to, Vector<Sum<S>> x) {
  if constexpr (kTerms<S> == 1) {
    store(to, x);
  } else {
    store_neighbours(to, x);
  }
}

// A right factor holds vectors, in which the higher parts of split operands come first. A left
// factor holds single operands.

// Sets operand n of the vector of a right factor at `to`.
template <class S>
GATEWISE_INLINE void set_operand(S* to, int64_t n, S value) {
  if constexpr (std::is_same_v<S, SplitPair>) {
    Pair* const pairs = reinterpret_cast<Pair*>(to);
    pairs[n] = value.high;
    pairs[kWidth<S> + n] = value.low;
  } else {
    to[n] = value;
  }
}

// Stores a vector of operands of a left factor.
template <class S>
GATEWISE_INLINE void store_operands(S* to, Vector<S> x) {
  if constexpr (std::is_same_v<S, SplitPair>) {
    for (int n = 0; n < kWidth<S>; ++n) to[n] = {{x.high[n]}, {x.low[n]}};
  } else {
    store<S>(to, x);
  }
}

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_BFLOAT16_H_
