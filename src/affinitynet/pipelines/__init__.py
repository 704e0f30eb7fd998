"""The pipelines: one folder each, the graph in pipeline.py, thin functions in nodes.py."""
