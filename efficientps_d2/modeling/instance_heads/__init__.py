"""RPN, RoI heads and mask heads."""
