"""The output folder: which images are planned, the files and their rows in the manifest, and its upkeep."""
