"""Which node a pod is bound to."""
