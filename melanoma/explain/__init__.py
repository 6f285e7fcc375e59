"""What the classifier looks at: heat maps, a gallery, and checks that the maps mean something."""
