"""A job: options as a person writes them become a plan, and a plan becomes a segmentation and a report."""
