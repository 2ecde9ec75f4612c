"""Generation and scoring on several machines with Ray: a worker for each WebUI, one owner of all results.

Nothing here decides which images are made or kept: `batch` does that on the owner's machine, with the same protocol as
for threads. The module that runs on a node (`worker`) does not import Ray.
"""
