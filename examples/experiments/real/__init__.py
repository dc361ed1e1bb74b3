"""The parts of real_weights.py."""
