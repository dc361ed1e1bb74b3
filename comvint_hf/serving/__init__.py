"""Model -> answers: loading, streaming, boxes, the interface, and the scores."""
