"""Published benchmarks, one reader a format, to the same tables as our own catalog."""
