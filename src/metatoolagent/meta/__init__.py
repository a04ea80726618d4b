"""Bi-level training: the losses, the inner loop, the hypergradient and the outer loop."""
