"""DaskCluster: observe, plan, children, status."""
