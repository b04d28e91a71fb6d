"""What the database looks like, and which writes it refuses."""
