"""Finding what was said, done and answered, by its words."""
