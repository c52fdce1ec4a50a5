"""TensorRT and TensorRT-RTX plans, built from a bundle's graphs."""
