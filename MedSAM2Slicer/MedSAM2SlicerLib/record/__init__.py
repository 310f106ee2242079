"""How a run is told: the record in the scene, a file, a script."""
