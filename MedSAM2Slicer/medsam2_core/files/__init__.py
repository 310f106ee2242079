"""Files of any kind: text as people save it, and drafts that become a file only when they are complete."""
