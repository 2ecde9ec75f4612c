"""Image files: decoded, listed, and the text inside them."""
