"""Save a run, move its folder, and predict from it in a new process."""

import shutil
import subprocess
import sys

import numpy as np

import gatewise

waves = np.sin(np.arange(300) / 5) + 0.1 * np.random.default_rng(0).normal(size=300)
np.savez("waves.npz", x=waves)
gatewise.train("waves.npz", task="forecast", horizon=6, lookback=20, epochs=2, output="runs/waves")

shutil.move("runs/waves", "moved")
shutil.rmtree("runs")
command = [sys.executable, "-m", "gatewise", "predict", "moved", "waves.npz"]
print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
