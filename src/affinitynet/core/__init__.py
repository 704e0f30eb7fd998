"""The method as pure functions on tensors and arrays; it knows neither Kedro nor MLflow."""
