"""Meta-learned tool selection: from tool documentation to an adapter, its predictions and a report."""

__version__ = "0.1.0"
