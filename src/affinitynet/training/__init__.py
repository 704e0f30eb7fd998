"""Training: photos and labels as torch data sets, the losses, and one loop for every network."""
