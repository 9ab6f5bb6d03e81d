"""Any OpenAI-compatible server as a simulator."""
