"""What the API server shows: handlers, plugins, relists and rights. The only folder that imports kopf."""
