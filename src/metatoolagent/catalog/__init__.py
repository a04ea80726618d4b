"""The catalog: tool documentation and questions, read from text files, checked, and kept as frames."""
