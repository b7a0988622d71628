"""The default agent: an ordinary LangGraph project that runs with or without a model provider."""
