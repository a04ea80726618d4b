"""The methods, a module each with one function: `prepare(job)` returns how the method answers."""
