"""What runs a network, and what is measured with it: agreement, accuracy, speed."""
