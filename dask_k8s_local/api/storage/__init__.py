"""Objects in memory: their versions, who watches them, and how they are selected."""
