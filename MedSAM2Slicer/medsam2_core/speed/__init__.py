"""How fast a model is on this machine, and how close that is to what the machine could do."""
