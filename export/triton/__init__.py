"""A model repository of Triton Inference Server, made from a bundle."""
