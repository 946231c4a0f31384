"""Images, panoptic annotations, and what training and evaluation read of them."""
