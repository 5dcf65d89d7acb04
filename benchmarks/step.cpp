// Prints the nanoseconds of processor time of one step of one layer: step FEATURES UNITS WEIGHTS
//
// benchmarks/streaming.py compiles it. WEIGHTS is one of enum gatewise_weights.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "gatewise.h"

int main(int, char** argv) {
  const int64_t features = std::atoll(argv[1]), units = std::atoll(argv[2]);
  std::vector<float> kernel(features * 4 * units), recurrent(units * 4 * units), bias(4 * units);
  std::vector<float> x(features, 0.3f), states[4];
  for (auto& one : states) one.resize(units);
  for (auto* weights : {&kernel, &recurrent, &bias}) {
    for (float& weight : *weights) weight = (std::rand() % 2001 - 1000) / 5000.0f;
  }
  const gatewise_cell cell{features,      units,           GATEWISE_TANH, GATEWISE_SIGMOID,
                           kernel.data(), recurrent.data(), bias.data()};
  gatewise_cells* cells = nullptr;
  if (gatewise_cells_pack(&cell, 1, std::atoi(argv[3]), &cells)) return 1;
  float *a = states[0].data(), *b = states[1].data(), *c = states[2].data(), *d = states[3].data();
  const gatewise_states turns[] = {{x.data(), a, b, c, d}, {x.data(), c, d, a, b}};
  const int64_t count = 1 + 20'000'000 / (units * (features + units));
  double best = 1e30;
  for (int repeat = 0; repeat < 9; ++repeat) {
    const std::clock_t begin = std::clock();
    for (int64_t n = 0; n < count; ++n) gatewise_cells_step(cells, 1, &turns[n % 2]);
    best = std::min(best, 1e9 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC / count);
  }
  gatewise_cells_free(cells);
  std::printf("%.0f\n", best);
}
