"""Run the scripts that are named, in one process."""

import runpy
import sys

from keras.src.backend import config
from keras.src.utils import module_utils

# Keras would import an installed TensorFlow on any framework, for seconds.
module_utils.tensorflow._available = config.backend() == "tensorflow"

for name in sys.argv[1:]:
    runpy.run_path(name, run_name="__main__")
