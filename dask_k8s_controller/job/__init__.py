"""DaskJob: observe, plan, children, status."""
