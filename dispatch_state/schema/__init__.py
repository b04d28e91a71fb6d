"""What the database looks like, and what it refuses."""
