"""A trained model: its weights in and out, and its answers."""
