"""Processor time of a step in C: `gatewise.export(to="c")` beside the code of emx-onnx-cgen.

    pip install emx-onnx-cgen
    python benchmarks/cexport.py [--units 16 64 128] [--rounds 9]

The model is an LSTM over 50 steps of 12 features and a dense layer of 4. emx-onnx-cgen translates
the ONNX export of the same model. One program holds both and calls them in turns, so that other
work on the machine meets both; the least time of all rounds counts. `apart` is the largest
difference of their answers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
from keras import layers

import gatewise
from gatewise.exporting.c import found_compiler

STEPS, FEATURES, OUTPUTS = 50, 12, 4
FLAGS = ("-O2", "-O3", "-O3 -march=native")
MAIN = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "network.h"

void other(const float x[restrict 1][%(steps)d][%(features)d], float y[restrict 1][%(outputs)d]);

static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

int main(int count, char **given) {
  static gw_state state;
  static float x[1][%(steps)d][%(features)d], y[1][%(outputs)d], z[1][%(outputs)d];
  float *numbers = &x[0][0][0];
  for (int i = 0; i < %(steps)d * %(features)d; i++)
    numbers[i] = (float)(rand() %% 2001 - 1000) / 500.0f;
  double best[2] = {1e9, 1e9};
  const int times = atoi(given[count - 1]);
  for (int round = 0; round < atoi(given[1]); round++) {
    const double began = seconds();
    for (int k = 0; k < times; k++) gw_run(&state, numbers, y[0]);
    const double middle = seconds();
    for (int k = 0; k < times; k++) other((const float (*)[%(steps)d][%(features)d])x, z);
    const double ended = seconds();
    if (middle - began < best[0]) best[0] = middle - began;
    if (ended - middle < best[1]) best[1] = ended - middle;
  }
  float apart = 0.0f;
  for (int i = 0; i < %(outputs)d; i++) apart = fmaxf(apart, fabsf(y[0][i] - z[0][i]));
  const double each = 1e6 / times / %(steps)d;
  printf("%%g %%g %%g\\n", best[0] * each, best[1] * each, (double)apart);
  return 0;
}
"""


def written(folder: Path, units: int, weights: str) -> None:
    """Both translations of a model with random weights, and a program that calls them."""
    keras.utils.set_random_seed(units)
    steps = keras.Input((STEPS, FEATURES), name="steps")
    model = keras.Model(steps, layers.Dense(OUTPUTS)(layers.LSTM(units)(steps)))
    gatewise.export(model, to="c", output=folder / "c", weights=weights)
    gatewise.export(model, to="onnx", output=folder / "onnx")
    command = [sys.executable, "-m", "emx_onnx_cgen", "compile", "--input-dim", "batch=1"]
    command += ["--model-name", "other", "--large-weight-threshold", "0"]
    command += [str(folder / "onnx" / "model.onnx")]
    subprocess.run([*command, str(folder / "c" / "other.c")], check=True, capture_output=True)
    sizes = {"steps": STEPS, "features": FEATURES, "outputs": OUTPUTS}
    (folder / "c" / "main.c").write_text(MAIN % sizes)


def measured(folder: Path, flags: str, rounds: int) -> dict[str, float]:
    """Microseconds of processor time of a step of both, and how far apart their answers are."""
    sources = ("main.c", "network.c", "other.c")
    command = [found_compiler(), "-std=c99", *flags.split(), *sources, "-lm", "-o", "main"]
    subprocess.run(command, cwd=folder / "c", check=True, capture_output=True)
    program = [str(folder / "c" / "main"), str(rounds), "400"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    ours, theirs, apart = map(float, done.stdout.split())
    ratio = round(theirs / ours, 2)
    return {"gatewise_us": ours, "emx_us": theirs, "ratio": ratio, "apart": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="*", default=[16, 64, 128])
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    for units in given.units:
        with tempfile.TemporaryDirectory() as folder:
            written(Path(folder), units, "float32")
            for flags in FLAGS:
                found = measured(Path(folder), flags, given.rounds)
                print(json.dumps({"units": units, "flags": flags} | found), flush=True)


if __name__ == "__main__":
    main()
