"""Pictures of a run, made from storage."""
