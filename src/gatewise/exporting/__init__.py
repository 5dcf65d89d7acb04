"""Take a trained network away: ONNX, C, NumPy, Keras and SavedModel."""
