"""Pods on a node: their containers, volumes, probes, logs and status."""
