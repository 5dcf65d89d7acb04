"""The C99 functions that a C export may call; it holds those that its network uses."""

from typing import NamedTuple


class Function(NamedTuple):
    """A function, and those that it calls."""

    code: str
    calls: tuple[str, ...] = ()


FUNCTIONS = {
    "gw_product": Function("""
/* y [m] += x [n] times w [n, m], four rows of w at a time. */
static void gw_product(float *restrict y, const float *restrict x, const float *restrict w,
                       int n, int m) {
  const int fours = n - n % 4;
  for (int k = 0; k < fours; k += 4) {
    const float a = x[k], b = x[k + 1], c = x[k + 2], d = x[k + 3];
    const float *row = w + k * m;
    for (int j = 0; j < m; j++)
      y[j] += (a * row[j] + b * row[m + j]) + (c * row[2 * m + j] + d * row[3 * m + j]);
  }
  for (int k = fours; k < n; k++)
    for (int j = 0; j < m; j++) y[j] += x[k] * w[k * m + j];
}
"""),
    "gw_product_int8": Function("""
/* y [m] += x [n] times w [n, m] scale [m], 64 columns at a time. */
static void gw_product_int8(float *restrict y, const float *restrict x,
                            const signed char *restrict w, const float *restrict scale,
                            int n, int m) {
  for (int first = 0; first < m; first += 64) {
    const int wide = m - first < 64 ? m - first : 64;
    float sums[64] = {0};
    for (int k = 0; k < n; k++) {
      const float a = x[k];
      const signed char *row = w + k * m + first;
      for (int j = 0; j < wide; j++) sums[j] += a * (float)row[j];
    }
    for (int j = 0; j < wide; j++) y[first + j] += scale[first + j] * sums[j];
  }
}
"""),
    # Two polynomials and one division, without branches and tables, so that compilers vectorise it.
    # J. H. Lambert, 1768: tanh u = u / (1 + u u / (3 + u u / (5 + ...))).
    "gw_tanh": Function("""
/* tanh(x) = 2 t / (1 + t t), where t = tanh(x / 2) = p / q is seven levels of Lambert's continued
   fraction. The error is below 2e-7. */
static float gw_tanh(float x) {
  const float y = x > 9.0f ? 9.0f : x, u = 0.5f * (y < -9.0f ? -9.0f : y), s = u * u;
  const float p = u * (((s + 378.0f) * s + 17325.0f) * s + 135135.0f);
  const float q = ((28.0f * s + 3150.0f) * s + 62370.0f) * s + 135135.0f;
  return 2.0f * p * q / (q * q + p * p);
}
"""),
    "gw_sigmoid": Function(
        "static float gw_sigmoid(float x) { return 0.5f * gw_tanh(0.5f * x) + 0.5f; }",
        ("gw_tanh",),
    ),
    "gw_relu": Function("static float gw_relu(float x) { return x > 0.0f ? x : 0.0f; }"),
    "gw_hard_sigmoid": Function("""
static float gw_hard_sigmoid(float x) {
  const float y = x / 6.0f + 0.5f;
  return y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y;
}
"""),
    "gw_softsign": Function("static float gw_softsign(float x) { return x / (1.0f + fabsf(x)); }"),
    "gw_softplus": Function("""
static float gw_softplus(float x) { return log1pf(expf(-fabsf(x))) + (x > 0.0f ? x : 0.0f); }
"""),
    "gw_elu": Function("static float gw_elu(float x) { return x > 0.0f ? x : expm1f(x); }"),
    "gw_selu": Function("""
static float gw_selu(float x) {
  return 1.05070099f * (x > 0.0f ? x : 1.67326324f * expm1f(x));
}
"""),
    "gw_silu": Function(
        "static float gw_silu(float x) { return x * gw_sigmoid(x); }", ("gw_sigmoid",)
    ),
    "gw_gelu": Function("""
static float gw_gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.707106781f)); }
"""),
    "gw_mish": Function(
        "static float gw_mish(float x) { return x * gw_tanh(gw_softplus(x)); }",
        ("gw_tanh", "gw_softplus"),
    ),
    "gw_exponential": Function("static float gw_exponential(float x) { return expf(x); }"),
}


def with_calls(names: dict[str, None]) -> list[str]:
    """The named functions and those that they call, each after those."""
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys([*with_calls(dict.fromkeys(FUNCTIONS[name].calls)), name])
    return list(found)
