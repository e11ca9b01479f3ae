"""What the API server shows: handlers, plugins, lists and rights. The only folder that imports kopf."""
