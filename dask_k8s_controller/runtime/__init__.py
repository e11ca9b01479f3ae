"""What a reconcile runs in: work queue, clock, lease, health and metrics."""
