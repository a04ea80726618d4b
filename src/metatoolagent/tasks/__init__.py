"""Tasks: the split of the tools, the leakage gate, candidate sets, and prompts."""
