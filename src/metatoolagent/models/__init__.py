"""The backbone and its adapter."""
