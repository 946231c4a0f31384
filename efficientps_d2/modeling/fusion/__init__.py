"""Rules that fuse instances and semantic logits into one panoptic map."""
