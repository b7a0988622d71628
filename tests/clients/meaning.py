"""An embedding that can be worked out by hand."""

WORDS = ("cat", "dog", "car")


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(text.lower().count(word)) for word in WORDS] for text in texts]
