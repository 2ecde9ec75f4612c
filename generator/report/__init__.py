"""How good a model's pictures are, whether it copies, and which denoising strengths suit each class."""
