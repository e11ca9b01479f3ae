"""What ``kubectl get`` shows."""
