"""What a run is: its record, its versions, how it resumes, and what MLflow hears of it."""
