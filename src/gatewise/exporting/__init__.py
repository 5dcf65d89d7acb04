"""Take a trained network away: ONNX, C, NumPy, Keras, SavedModel; one file each."""
