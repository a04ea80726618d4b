"""Evaluation: what each method selects, and honest statistics of it."""
