"""What objects of all kinds have: metadata, names, labels."""
