"""Controllers that need more than the API: garbage collection, and the ends of namespaces and CRDs."""
