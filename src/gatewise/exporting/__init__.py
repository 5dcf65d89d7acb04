"""Take a trained network away: ONNX, NumPy, Keras and SavedModel, one file each."""
