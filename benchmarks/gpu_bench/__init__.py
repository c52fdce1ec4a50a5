"""The parts of `benchmarks/gpu.py`: what is measured, each in a file of its own, and the rows and clock they share."""
