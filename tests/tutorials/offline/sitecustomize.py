"""Lets Keras take an mnist.npz that was packed here, in processes that have this on their path.

Keras downloads MNIST anew unless the file has the checksum of its own copy. The images are the
same, but the checksum is that of the zip file around them.

Keras also imports scikit-learn and Matplotlib, for seconds, which the scripts do not use. Here it
takes them for not installed.
"""

import importlib.abc
import importlib.machinery
import sys


class _Checksums(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "keras.src.utils.file_utils":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.validate_file = lambda *_, **__: True

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Checksums())
sys.modules |= dict.fromkeys(("sklearn", "matplotlib"))
