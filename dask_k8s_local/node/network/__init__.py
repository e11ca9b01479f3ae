"""Addresses and names on a machine that all pods share."""
