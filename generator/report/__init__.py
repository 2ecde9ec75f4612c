"""How good a model's images are, whether it copies, and which denoising strengths suit each class."""
