"""Torch modules: backbones, the three networks that stand on them, and their checkpoints."""
