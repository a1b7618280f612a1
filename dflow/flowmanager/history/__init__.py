"""What earlier runs left in a flow's folder, and whether it is still up to date."""
