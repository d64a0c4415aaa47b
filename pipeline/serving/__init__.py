"""Models where they are served from: pushing, rolling back, asking, serving."""
