"""Diffusion models that `generator train` made, behind the server. Not Stable Diffusion.

`engine.load_engine` reads a saved model and gives the engine; everything here needs the extra `diffusion`.
"""
