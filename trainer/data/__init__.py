"""A DATA folder: its images, where they come from, and how they are divided into train, val and test."""
