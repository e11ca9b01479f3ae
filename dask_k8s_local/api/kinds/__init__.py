"""The kinds that are served: what they are called, and what is particular to each."""
