"""Made-up runs and models that several tests share."""
