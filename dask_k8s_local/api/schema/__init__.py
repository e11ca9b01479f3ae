"""Schemas of kinds: compiled, walked to prune, default and validate, and CEL rules."""
