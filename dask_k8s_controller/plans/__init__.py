"""What plans are made of. Pure: no kopf, no HTTP."""
