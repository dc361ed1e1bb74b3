"""What the annotator knows of English and of the world: words, kinds of objects, their uses."""
