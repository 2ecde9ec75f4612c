"""Past one machine, with Ray: workers beside the WebUIs of a cluster's nodes, and one owner of all results.

Nothing here decides what is made or kept: `batch` does that, on the owner's machine, over the same protocol as with
threads. The modules that run on a node (`worker`, `scorer`) know nothing of Ray.
"""
