"""Threads as files: a bundle, which is the whole thread, and a transcript, which is what was said."""
