"""What the server has to offer: groups, resources, OpenAPI documents."""
