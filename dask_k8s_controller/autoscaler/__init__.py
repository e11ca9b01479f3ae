"""DaskAutoscaler: observe, plan, status."""
