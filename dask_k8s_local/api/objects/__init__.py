"""The verbs of the API, whatever the kind."""
