"""Dask schedulers: asked over HTTP, in JSON, in the background."""
