"""What may not exist although it is valid, and what new pods are given."""
