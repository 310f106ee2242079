"""How a run is described: the record in the scene, a file, a script."""
