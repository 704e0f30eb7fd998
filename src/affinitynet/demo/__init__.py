"""The try-out: a local page that shows the results of the trained networks on a photo."""
