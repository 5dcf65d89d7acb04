// Vectors of one instruction set, and the functions on them that an LSTM needs.
//
// Every file that includes this header is compiled once per instruction set, with GATEWISE_ISA as
// the namespace, because the linker must not merge functions of different instruction sets.

#ifndef GATEWISE_SIMD_H_
#define GATEWISE_SIMD_H_

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define GATEWISE_INLINE inline __attribute__((always_inline))

namespace gatewise::GATEWISE_ISA {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kBytes = 32, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kBytes = 16, kRegisters = 32;
#else
constexpr int kBytes = 16, kRegisters = 16;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kBytes)));
  typedef int32_t bits __attribute__((vector_size(kBytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kBytes)));
  typedef int64_t bits __attribute__((vector_size(kBytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
using Bits = typename VectorOf<T>::bits;

template <class T>
constexpr int kWidth = kBytes / static_cast<int>(sizeof(T));

template <class T>
GATEWISE_INLINE Vector<T> load(const T* from) {
  Vector<T> v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class T>
GATEWISE_INLINE void store(T* to, Vector<T> v) {
  __builtin_memcpy(to, &v, sizeof v);
}

template <class T>
GATEWISE_INLINE Vector<T> all(T value) {
  return value - Vector<T>{};
}

// Loads the first `count` elements (1 to the width), then zeros; reads nothing beyond them.
template <class T>
GATEWISE_INLINE Vector<T> load_some(const T* from, int count) {
  if (count >= kWidth<T>) return load(from);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vector<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
  } else {
    return (Vector<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), from);
  }
#elif defined(__AVX2__)
  // Stores of single elements would delay a load of all of them until they have left for the cache.
  alignas(kBytes) static constexpr int32_t kFirst[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  constexpr int kParts = sizeof(T) / sizeof(int32_t);
  const __m256i mask = (__m256i)load((const float*)kFirst + (kWidth<T> - count) * kParts);
  if constexpr (sizeof(T) == 4) return (Vector<T>)_mm256_maskload_ps(from, mask);
  if constexpr (sizeof(T) == 8) return (Vector<T>)_mm256_maskload_pd(from, mask);
#else
  T some[kWidth<T>] = {};
  for (int n = 0; n < count; ++n) some[n] = from[n];
  return load(some);
#endif
}

// Zero in place of all but the first `count` elements (1 to the width).
template <class T>
GATEWISE_INLINE Vector<T> only(Vector<T> x, int count) {
  if (count >= kWidth<T>) return x;
  T some[kWidth<T>];
  store(some, x);
  return load_some(some, count);
}

template <class T>
GATEWISE_INLINE void store_some(T* to, Vector<T> v, int count) {
  if (count >= kWidth<T>) return store(to, v);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
  } else {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), (__m512d)v);
  }
#elif defined(__AVX2__)
  // By halves, because masked stores take many cycles on processors of AMD.
  __m128i half = _mm256_castsi256_si128((__m256i)v);
  char* at = reinterpret_cast<char*>(to);
  const int bytes = count * static_cast<int>(sizeof(T));
  if (bytes & 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), half);
    half = _mm256_extracti128_si256((__m256i)v, 1);
    at += 16;
  }
  if (bytes & 8) {
    const int64_t pair = _mm_cvtsi128_si64(half);
    __builtin_memcpy(at, &pair, 8);
    half = _mm_unpackhi_epi64(half, half);
    at += 8;
  }
  if (bytes & 4) {
    const int32_t one = _mm_cvtsi128_si32(half);
    __builtin_memcpy(at, &one, 4);
  }
#else
  T some[kWidth<T>];
  store(some, v);
  for (int n = 0; n < count; ++n) to[n] = some[n];
#endif
}

// x y + z, rounded once if the instruction set supports it. It is explicit, and the compiler may
// not fuse anywhere else, so that every copy of the same code gives the same bits.
template <class T>
GATEWISE_INLINE Vector<T> fused(Vector<T> x, Vector<T> y, Vector<T> z) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vector<T>)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)z);
  } else {
    return (Vector<T>)_mm512_fmadd_pd((__m512d)x, (__m512d)y, (__m512d)z);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return (Vector<T>)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)z);
  } else {
    return (Vector<T>)_mm256_fmadd_pd((__m256d)x, (__m256d)y, (__m256d)z);
  }
#elif defined(__aarch64__)
  if constexpr (sizeof(T) == 4) {
    return (Vector<T>)vfmaq_f32((float32x4_t)z, (float32x4_t)x, (float32x4_t)y);
  } else {
    return (Vector<T>)vfmaq_f64((float64x2_t)z, (float64x2_t)x, (float64x2_t)y);
  }
#else
  return x * y + z;
#endif
}
template <class T>
GATEWISE_INLINE Vector<T> fused(Vector<T> x, T y, Vector<T> z) {
  return fused<T>(x, all(y), z);
}
template <class T>
GATEWISE_INLINE Vector<T> fused(Vector<T> x, Vector<T> y, T z) {
  return fused<T>(x, y, all(z));
}

// Maximum and minimum. NaN in x is kept, because x is the second operand of the instructions. (The
// mask of ones avoids a warning of GCC 12 about an undefined operand in its own header.)
template <class T>
GATEWISE_INLINE Vector<T> at_least(Vector<T> x, T low) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vector<T>)_mm512_maskz_max_ps(0xffff, (__m512)all(low), (__m512)x);
  if constexpr (sizeof(T) == 8)
    return (Vector<T>)_mm512_maskz_max_pd(0xff, (__m512d)all(low), (__m512d)x);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return (Vector<T>)_mm256_max_ps((__m256)all(low), (__m256)x);
  if constexpr (sizeof(T) == 8) return (Vector<T>)_mm256_max_pd((__m256d)all(low), (__m256d)x);
#else
  return x < low ? all(low) : x;
#endif
}
template <class T>
GATEWISE_INLINE Vector<T> at_most(Vector<T> x, T high) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vector<T>)_mm512_maskz_min_ps(0xffff, (__m512)all(high), (__m512)x);
  if constexpr (sizeof(T) == 8)
    return (Vector<T>)_mm512_maskz_min_pd(0xff, (__m512d)all(high), (__m512d)x);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return (Vector<T>)_mm256_min_ps((__m256)all(high), (__m256)x);
  if constexpr (sizeof(T) == 8) return (Vector<T>)_mm256_min_pd((__m256d)all(high), (__m256d)x);
#else
  return x > high ? all(high) : x;
#endif
}

// 1 / x, with an error of about half an ulp more than division, which costs three times as much if
// the instruction set has a 14-bit estimate. Only for 1 <= x < 2^126: the estimate of a larger
// number is flushed to zero.
template <class T>
GATEWISE_INLINE Vector<T> reciprocal(Vector<T> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    const Vector<T> y = (Vector<T>)_mm512_maskz_rcp14_ps(0xffff, (__m512)x);
    return fused<T>(y, fused<T>(-x, y, T(1)), y);
  }
#endif
  return T(1) / x;
}

// e^x = scale + scale tail. scale is a power of two, and 1 + tail = e^r with |r| <= ln(2) / 2. tail
// is a Taylor series, truncated where the next term is below half an ulp. e^x must be a normal
// number.
template <class T>
struct Exponential {
  Vector<T> scale, tail;
};

GATEWISE_INLINE Exponential<float> exponential(Vector<float> x) {
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits.
  const Vector<float> shifted = fused<float>(x, all(1.44269504f), 12582912.0f);
  const Vector<float> n = shifted - 12582912.0f;
  const Vector<float> r = fused<float>(n, -1.42860677e-6f, fused<float>(n, -0.693145752f, x));
  Vector<float> p = all(1.9875691500e-4f);
  p = fused<float>(p, r, 1.3981999507e-3f);
  p = fused<float>(p, r, 8.3334519073e-3f);
  p = fused<float>(p, r, 4.1665795894e-2f);
  p = fused<float>(p, r, 1.6666665459e-1f);
  p = fused<float>(p, r, 5.0000001201e-1f);
  p = fused<float>(p, r * r, r);
  Bits<float> bits = (Bits<float>)shifted;
  return {(Vector<float>)((bits << 23) + 0x3f800000), p};
}

GATEWISE_INLINE Exponential<double> exponential(Vector<double> x) {
  const Vector<double> shifted = fused<double>(x, all(1.4426950408889634), 6755399441055744.0);
  const Vector<double> n = shifted - 6755399441055744.0;
  const Vector<double> r =
      fused<double>(n, -1.9082149292705877e-10, fused<double>(n, -0.6931471803691238, x));
  Vector<double> p = all(1.0 / 6227020800.0);
  p = fused<double>(p, r, 1.0 / 479001600.0);
  p = fused<double>(p, r, 1.0 / 39916800.0);
  p = fused<double>(p, r, 1.0 / 3628800.0);
  p = fused<double>(p, r, 1.0 / 362880.0);
  p = fused<double>(p, r, 1.0 / 40320.0);
  p = fused<double>(p, r, 1.0 / 5040.0);
  p = fused<double>(p, r, 1.0 / 720.0);
  p = fused<double>(p, r, 1.0 / 120.0);
  p = fused<double>(p, r, 1.0 / 24.0);
  p = fused<double>(p, r, 1.0 / 6.0);
  p = fused<double>(p, r, 0.5);
  p = fused<double>(p, r * r, r);
  Bits<double> bits = (Bits<double>)shifted;
  return {(Vector<double>)((bits << 52) + 0x3ff0000000000000), p};
}

template <class T>
constexpr T kLargestExponent = sizeof(T) == 4 ? T(87) : T(708);

// 1 / (1 + e^-x)
template <class T>
GATEWISE_INLINE Vector<T> sigmoid(Vector<T> x) {
  const Vector<T> bounded = at_most(at_least<T>(x, -kLargestExponent<T>), kLargestExponent<T>);
  const Exponential<T> e = exponential(-bounded);
  return reciprocal<T>(fused<T>(e.scale, e.tail, e.scale) + T(1));
}

// e^x - 1, accurate near zero as well
template <class T>
GATEWISE_INLINE Vector<T> exponential_minus_1(Vector<T> x) {
  const Exponential<T> e = exponential(x);
  return fused<T>(e.scale, e.tail, e.scale - T(1));
}

// (e^2x - 1) / (e^2x + 1)
template <class T>
GATEWISE_INLINE Vector<T> hyperbolic_tangent(Vector<T> x) {
  const Vector<T> u = exponential_minus_1<T>(at_most(at_least<T>(x + x, T(-40)), T(40)));
  return u * reciprocal<T>(u + T(2));
}

}  // namespace gatewise::GATEWISE_ISA

#endif  // GATEWISE_SIMD_H_
