"""A class-conditional diffusion model, trained from scratch on the user's own images."""
