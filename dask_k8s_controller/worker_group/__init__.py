"""DaskWorkerGroup: observe, plan, children, status."""
