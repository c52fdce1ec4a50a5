"""Encoders of the libraries that people have: open_clip, timm and transformers, with checkpoints of their own.

A library builds the network; the checkpoint is read here, as data, and nothing is ever downloaded.
"""
