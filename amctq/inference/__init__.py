"""Running networks, and measuring agreement, accuracy and speed."""
