"""What people and programs can ask a store."""
