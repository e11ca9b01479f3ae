"""What is known of the objects in the API server, parsed once. It knows no plan."""
