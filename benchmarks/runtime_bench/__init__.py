"""The parts of `benchmarks/runtime.py`: what is measured, each in a file of its own, and the rows they share."""
