"""What people and programs ask a store."""
