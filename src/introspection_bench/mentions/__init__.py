"""Where a text names something: words, their inflected forms, and concepts by any of their names."""
