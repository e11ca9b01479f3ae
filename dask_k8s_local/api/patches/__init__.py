"""Patches, server-side apply, and who owns which field."""
