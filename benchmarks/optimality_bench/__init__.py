"""Parts of `benchmarks/attack_optimality.py`: how close each attack comes to the best, and for how many queries."""
