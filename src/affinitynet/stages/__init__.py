"""The work of each stage on one image or one batch, without Kedro and without an engine."""
